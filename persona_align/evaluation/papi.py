"""PAPI: does a model answer a questionnaire like a person, after 120 of their answers? Every arm, beside baselines.

Source: arXiv 2408.11779, section 5; read with the right keying, and with trivial baselines beside every figure.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import IncompatibleOffsetsError, PersonaAlignError
from persona_align.evaluation.intervals import over_people
from persona_align.evaluation.papi_answers import Sheet
from persona_align.evaluation.papi_arms import Answered, Study
from persona_align.evaluation.papi_data import TRAITS, People, load_items, load_people
from persona_align.evaluation.papi_scoring import absolute_errors, composite, held_out, trivial_predictions
from persona_align.steering.basis import SteeringBasis
from persona_align.steering.steered import SteeredModel

__all__ = ["ARMS", "load_study", "run", "score"]

Floats = NDArray[np.float64]
ARMS = (
    "base",
    "told",
    "few-shot 30",
    "pas search",
    "pas linear",
    "pas optimize",
    "pas basis",
    "null",
    "reference",
    "dpo",
)
_SLOW = ("reference", "dpo")


def run(
    data: Path,
    *,
    model: str | None = None,
    output: Path | None = None,
    seed: int = 0,
    arms: Sequence[str] = ARMS,
    people: int | None = None,
    slow_people: int = 10,
    by: str = "probability",
    basis: SteeringBasis | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the arms on the people that the bundled model's training never saw.

    Args:
        data: The folder of benchmark data, with `papi/items.csv` and `papi/subjects.csv` or `papi/Test-set.json`.
        model: A hub name or folder; None takes the bundled model and its basis.
        output: A folder for every person's answers as JSON, and the figure.
        seed: Of every random choice.
        arms: Which of `ARMS` to run; "few-shot N" takes any number of answers.
        people: How many evaluated people to take; None takes all.
        slow_people: How many of them the slow arms (the reference's procedure, DPO) take.
        by: "probability" of the letters, or "generation" of an answer that is then read.
        basis: For the arm "pas basis"; None takes the one that ships with the model, or fits the five traits.
        report: Called with a line when an arm begins.

    Returns:
        Per arm the composite error with its interval, the errors per trait, the gain over the base model with its
        interval on the same people, seconds of optimisation a person and prompt tokens; beside it the baselines.
    """
    unknown = [arm for arm in arms if arm not in ARMS and not arm.startswith("few-shot ")]
    if unknown:
        raise PersonaAlignError(f"There is no arm {', '.join(unknown)}.", f"Choose from {', '.join(ARMS)}.")
    study = load_study(Path(data), model, seed=seed, people=people, by=by)
    found: dict[str, Answered] = {"base": study.base()}
    for arm in arms:
        if report is not None:
            report(arm)
        found |= _arm(study, arm, slow_people, basis)
    result = score(study, found, seed=seed)
    if output is not None:
        _write(Path(output), study, found, result)
    return result


def load_study(
    data: Path, model: str | None = None, *, seed: int = 0, people: int | None = None, by: str = "probability"
) -> Study:
    """The people, split as the bundled model's training split them, and the model."""
    from persona_align.demo import load
    from persona_align.demo.corpus.people import calibration_people

    folder = data / "papi" if (data / "papi").is_dir() else data
    items = load_items(folder / "items.csv")
    table = folder / "subjects.csv"
    everyone = load_people(table if table.is_file() else folder / "Test-set.json", items)
    others = np.sort(calibration_people(len(everyone)))
    chosen = np.setdiff1d(np.arange(len(everyone)), others)
    if model is None:
        hf_model, tokenizer = load()
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        hf_model, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    sheet = Sheet(SteeredModel.of(hf_model), tokenizer, held_out(items).texts, by)
    return Study(everyone.select(chosen[:people]), everyone.select(others), items, sheet, seed)


def score(study: Study, arms: dict[str, Answered], *, seed: int = 0) -> dict[str, Any]:
    """Errors and intervals of some arms, and of the trivial baselines on the same people."""
    items = held_out(study.items)
    truth = study.people.agreement[:, ~study.items.train]
    base = absolute_errors(arms["base"].predicted, truth)
    trivial = trivial_predictions(study.people.agreement, study.items, study.others.agreement)

    def errors_of(predicted: Floats, rows: Sequence[int]) -> dict[str, Any]:
        errors = absolute_errors(predicted, truth[list(rows)])
        own = over_people(lambda w: composite(errors, items, weights=w)[0], len(rows), seed=seed)
        same = base[list(rows)]
        gain = over_people(
            lambda w: composite(same, items, weights=w)[0] - composite(errors, items, weights=w)[0],
            len(rows),
            seed=seed,
        )
        traits = composite(errors, items)[1]
        return {
            "composite": own.as_json(),
            "gain_over_base": gain.as_json(),
            "traits": {trait: round(float(value), 4) for trait, value in zip(TRAITS, traits, strict=True)},
            "people": len(rows),
        }

    everyone = range(len(study.people))
    result: dict[str, Any] = {
        "evaluated_people": len(study.people),
        "other_people": len(study.others),
        "by": study.sheet.by,
    }
    result["baselines"] = {name: errors_of(predicted, everyone) for name, predicted in trivial.items()}
    result["arms"] = {
        name: {
            **errors_of(arm.predicted, arm.people or everyone),
            "fit_seconds_per_person": round(arm.fit_seconds, 5),
            "shared_seconds": round(arm.shared_seconds, 3),
            "prompt_tokens": round(arm.prompt_tokens, 1),
            **({"saw": arm.seen} if arm.seen else {}),
        }
        for name, arm in arms.items()
    }
    return result


def _arm(study: Study, arm: str, slow_people: int, basis: SteeringBasis | None) -> dict[str, Answered]:
    few = range(min(slow_people, len(study.people)))
    if arm == "base":
        return {}
    if arm == "told":
        return {arm: study.told()}
    if arm.startswith("few-shot "):
        return {arm: study.few_shot(int(arm.removeprefix("few-shot ")))}
    if arm == "pas basis":
        return {arm: study.basis(basis if basis is not None else _basis(study))}
    if arm.startswith("pas "):
        return {arm: study.pas(arm.removeprefix("pas "))}  # type: ignore[arg-type]  # ARMS holds only methods
    if arm == "null":
        mixed = _mixed(study)
        return {f"null, {method}": study.pas(method, answers=mixed) for method in ("search", "linear", "optimize")}
    if arm == "reference":
        from persona_align.evaluation.papi_reference import reference_arms

        return reference_arms(study, few)
    from persona_align.evaluation.papi_dpo import dpo_arm

    return {arm: dpo_arm(study, few)}


def _mixed(study: Study) -> Floats:
    """Answers of nobody: every statement's answers are shuffled among the people."""
    rng = np.random.default_rng(study.seed + 1)
    return np.stack([rng.permutation(column) for column in study.training.T], axis=1)


def _basis(study: Study) -> SteeringBasis:
    from persona_align.demo import basis_folder

    model, tokenizer = study.sheet.steered.model, study.sheet.tokenizer
    traits = ["openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism"]
    try:
        return SteeringBasis.from_pretrained(basis_folder(), model)
    except IncompatibleOffsetsError:
        cached = SteeringBasis.cached(model)
    return cached or SteeringBasis.fit(model, tokenizer, dimensions=traits, seed=study.seed)


def _write(folder: Path, study: Study, arms: dict[str, Answered], result: dict[str, Any]) -> None:
    from persona_align.evaluation.papi_figure import draw

    folder.mkdir(parents=True, exist_ok=True)
    cases = _cases(study.people, study, arms)
    (folder / "papi_people.json").write_text(json.dumps(cases) + "\n", encoding="utf-8")
    (folder / "papi.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(result, folder / "papi.svg")


def _cases(people: People, study: Study, arms: dict[str, Answered]) -> list[dict[str, Any]]:
    """What each arm answered as each person, beside the person's own answers; null where there is none."""
    test = ~study.items.train
    rows = []
    for person, case in enumerate(people.cases):
        given = {
            name: arm.predicted[list(arm.people).index(person) if arm.people else person].tolist()
            for name, arm in arms.items()
            if arm.people is None or person in arm.people
        }
        own = [None if np.isnan(value) else int(value) for value in people.agreement[person, test]]
        rows.append(
            {
                "case": case,
                "items": [n for n, t in zip(study.items.numbers, test, strict=True) if t],
                "own": own,
                "arms": given,
            }
        )
    return rows
