"""AlignX's format: how often the chosen reply is ranked above the rejected one, after each case's own history.

Reads AlignX-test, UF-P-4, PRISM and P-Soups files. Taste needs comparisons; cases without any are abstentions and
count one half. With a model also its log-probability accuracy under ICA, PBA and PAS.

Source: AlignX (arXiv 2503.15463), Table 3.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.encoder import open_encoder
from persona_align.errors import InvalidRecordError
from persona_align.evaluation.cases import read_cases
from persona_align.evaluation.figures import bars
from persona_align.evaluation.psoups import measure
from persona_align.evaluation.tasting import Bench

__all__ = ["PUBLISHED", "figure", "run"]

PUBLISHED = {
    "Llama-3-8B-Instruct": (46.91, 44.38, 49.44, 48.84),
    "Qwen2.5-7B-Instruct": (55.39, 58.22, 34.56, 51.04),
    "Mistral-7B-Instruct-v0.2": (59.38, 66.86, 40.12, 47.41),
    "AlignXpert-ICA": (63.01, 68.17, 63.33, 75.19),
    "AlignXpert-PBA": (53.09, 55.86, 81.69, 71.10),
}
"""Accuracy in percent on UF-P-4, PRISM, P-Soups and AlignX-test."""


def run(
    data: Path,
    *,
    encoder: Any = None,
    seed: int = 0,
    model: Any = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The arms and baselines of `psoups.run` for one file, and those of a language model.

    Args:
        data: A file of cases, or the folder of benchmark data, whose P-Soups cases are then taken together.
        encoder: Any encoder that `open_encoder` takes.
        seed: Of every random choice.
        model: A hub name, a folder, "demo" for the bundled model, or a ChatTransformers: adds ICA, PBA and PAS.
        limit: Only so many cases, drawn by the seed.
        progress: Called with (done, all).

    Returns:
        "arms", "learning", "baselines", "cases"; "histories": how many cases have comparisons, comments, a
        description; "published"; and "model" where one was named.
    """
    paths = [data] if data.is_file() else sorted((data / "psoups").glob("*.json"))
    if not paths:
        raise InvalidRecordError(
            f"There are no cases in {data}.", "Name a file of cases, or the folder that holds psoups/."
        )
    cases = [case for path in paths for case in read_cases(path)]
    if limit is not None and limit < len(cases):
        cases = [cases[i] for i in sorted(np.random.default_rng(seed).permutation(len(cases))[:limit])]
    opened = open_encoder(encoder)
    result = measure(Bench.of(cases, opened, progress), seed)
    kinds = [{record.kind for record in case.records} for case in cases]
    result["histories"] = {kind: sum(kind in held for held in kinds) for kind in ("comparison", "turn", "description")}
    result["published"] = {
        name: dict(zip(("UF-P-4", "PRISM", "P-Soups", "AlignX-test"), values, strict=True))
        for name, values in PUBLISHED.items()
    }
    if model is not None:
        from persona_align.evaluation.language_model import model_arms

        result["model"] = model_arms(cases, model, encoder=opened, seed=seed, progress=progress)
    return result


def figure(result: dict[str, Any], path: Path) -> None:
    """Write arms, baselines and the arms of the model as bars; the suffix of `path` names the format."""
    rows = [(arm, value, True) for arm, value in result["arms"].items()]
    rows += [(f"model, {arm}", value, True) for arm, value in result.get("model", {}).get("arms", {}).items()]
    rows += [(arm, value, False) for arm, value in result["baselines"].items()]
    bars(rows, path, title="The reply that the user preferred, ranked first", chance=0.5)
