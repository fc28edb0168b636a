"""P-Soups: rank a fifth pair of replies after four comparisons, always with four arms side by side.

The user's own comparisons; no user (everybody else's, as one taste); another user's; those of a user of another
persona. What own gains over no user is the personalisation. Nothing is fitted on this data.

Source: AlignX (arXiv 2503.15463), Table 3; the arms without the user are ours.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.encoder import open_encoder
from persona_align.evaluation.cases import read_cases
from persona_align.evaluation.figures import bars
from persona_align.evaluation.tasting import Bench, accuracy
from persona_align.inference.taste import Taste

__all__ = ["figure", "run"]

OTHERS = 24
"""How many other users stand in for each user in the arms of another user's taste."""


def run(
    data: Path,
    *,
    encoder: Any = None,
    seed: int = 0,
    model: Any = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The accuracy of every arm on every file of `data/psoups`, or of one file.

    Args:
        data: The folder of benchmark data, its psoups folder, or one file of cases.
        encoder: Any encoder that `open_encoder` takes.
        seed: Of the bootstrap, of the baseline by chance and of the choice of other users.
        model: A hub name, a folder, "demo" or a ChatTransformers: adds the arms of a language model.
        limit: Only so many cases of each file, drawn by the seed.
        progress: Called with (done, all) texts while they are encoded.

    Returns:
        By file: "arms" (own, no user, another user, opposite persona), "learning" (own after 1, 2, ... comparisons),
        "baselines" and "cases" (the log odds of each).
    """
    opened = open_encoder(encoder)
    results = {}
    for path in _files(data):
        cases = read_cases(path)
        if limit is not None and limit < len(cases):
            cases = [cases[i] for i in sorted(np.random.default_rng(seed).permutation(len(cases))[:limit])]
        results[path.stem] = measure(Bench.of(cases, opened, progress), seed)
        if model is not None:
            from persona_align.evaluation.language_model import model_arms

            results[path.stem]["model"] = model_arms(cases, model, encoder=opened, seed=seed)
    return results


def measure(bench: Bench, seed: int) -> dict[str, Any]:
    """Arms, learning curve and baselines of one set of cases."""
    rng = np.random.default_rng(seed)
    prompts = [case.prompt for case in bench.cases]
    n = len(bench.cases)

    def summary(margins: Sequence[float]) -> dict[str, Any]:
        return accuracy([_right(margin) for margin in margins], prompts, seed)

    tastes = bench.tastes
    own = [bench.margin(taste, i) for i, taste in enumerate(tastes)]
    most = max((len(case.comparisons) for case in bench.cases), default=0)
    learning = {str(k): summary([bench.margin(bench.taste(i, k), i) for i in range(n)]) for k in range(1, most + 1)}
    arms = {
        "own": summary(own),
        "no user": summary([bench.margin(_without(bench, tastes, i), i) for i in range(n)]),
        "another user": _others(bench, tastes, [_draw(rng, range(n), i) for i in range(n)], prompts, seed),
    }
    personas = [case.persona for case in bench.cases]
    if len(set(personas)) > 1:
        opposed = [_draw(rng, [j for j in range(n) if personas[j] != personas[i]], i) for i in range(n)]
        arms["opposite persona"] = _others(bench, tastes, opposed, prompts, seed)
    longer = [len(case.chosen.split()) - len(case.rejected.split()) for case in bench.cases]
    return {
        "arms": arms,
        "learning": learning,
        "baselines": {
            "random": summary([float(margin) for margin in rng.choice([-1.0, 1.0], n)]),
            "the longer answer": summary(longer),
            "final-layer cosine": summary([bench.content_margin(i) for i in range(n)]),
            "lower layers, no prior": summary([bench.lower_layers_margin(i) for i in range(n)]),
        },
        "calibration": _calibration(own),
        "cases": [
            {"prompt": case.prompt, "persona": case.persona, "log_odds": round(margin, 4)}
            for case, margin in zip(bench.cases, own, strict=True)
        ],
    }


def figure(result: dict[str, Any], path: Path) -> None:
    """Write the arms and baselines of a result of `run` as bars; the suffix of `path` names the format."""
    rows = []
    for name, part in result.items():
        rows += [(f"{name}: {arm}", value, True) for arm, value in part["arms"].items()]
        rows += [(f"{name}: {arm}", value, False) for arm, value in part["baselines"].items()]
    bars(rows, path, title="P-Soups: the fifth pair ranked right", chance=0.5)


def _right(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


def _without(bench: Bench, tastes: Sequence[Taste], number: int) -> Taste:
    """One taste of everybody else: of all comparisons but this user's own and those that are the test pair."""
    case = bench.cases[number]
    shifts, prompts = [], []
    for other, taste in enumerate(tastes):
        if other != number and len(taste.shifts):
            fresh = [pair.prompt != case.prompt for pair in bench.cases[other].comparisons]
            shifts.append(taste.shifts[fresh])
            prompts.append(taste.prompts[fresh])
    if not shifts:
        return tastes[number].forgetting()
    return Taste(space=bench.space, shifts=np.concatenate(shifts), prompts=np.concatenate(prompts))


def _draw(rng: np.random.Generator, among: Sequence[int], own: int) -> list[int]:
    others = [int(i) for i in rng.permutation(np.array(among))[: OTHERS + 1] if i != own]
    return others[:OTHERS]


def _others(
    bench: Bench, tastes: Sequence[Taste], drawn: Sequence[Sequence[int]], prompts: Sequence[str], seed: int
) -> dict[str, Any]:
    right = [
        float(np.mean([_right(bench.margin(tastes[other], i)) for other in others])) if others else 0.5
        for i, others in enumerate(drawn)
    ]
    return accuracy(right, prompts, seed)


def _calibration(margins: Sequence[float], bins: int = 5) -> dict[str, Any]:
    """How often the preferred side was right, by how sure the ranker was, and the expected calibration error."""
    sure = 1.0 / (1.0 + np.exp(-np.abs(np.clip(np.asarray(margins), -30, 30))))
    right = np.array([_right(margin) for margin in margins])
    place = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
    table = [
        {
            "confidence": round(float(sure[place == b].mean()), 3),
            "right": round(float(right[place == b].mean()), 3),
            "cases": int((place == b).sum()),
        }
        for b in range(bins)
        if (place == b).any()
    ]
    error = sum(row["cases"] * abs(row["confidence"] - row["right"]) for row in table) / max(len(margins), 1)
    return {"expected_error": round(float(error), 4), "bins": table}


def _files(data: Path) -> list[Path]:
    if data.is_file():
        return [data]
    folder = data / "psoups" if (data / "psoups").is_dir() else data
    found = sorted(folder.glob("*.json"))
    if not found:
        raise FileNotFoundError(f"no P-Soups cases (*.json) in {folder}")
    return found
