"""Fit the steering basis that ships with the bundled model: `python -m persona_align.demo.fit_basis`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from persona_align.demo.bundle import basis_folder, load
from persona_align.demo.corpus.texts import DIMENSIONS
from persona_align.errors import PersonaAlignError

__all__ = ["fit_basis", "main"]


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m persona_align.demo.fit_basis", description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a trained model; the bundled one without it")
    parser.add_argument("--basis", type=Path, default=basis_folder(), help="where the basis is put")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=float, default=1.0, help="a factor on the lessons and steps of the fit")
    parser.add_argument("--calibrate", action="store_true", help="keep the directions, measure their strengths again")
    options = parser.parse_args(arguments)
    try:
        fit_basis(options.model, options.basis, seed=options.seed, effort=options.effort, calibrate=options.calibrate)
    except PersonaAlignError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def fit_basis(model: Path | None, folder: Path, *, seed: int = 0, effort: float = 1.0, calibrate: bool = False) -> Any:
    """Fit the dimensions that the model was trained on, or measure strengths again, and save the basis in a folder."""
    from rich.progress import Progress

    from persona_align.steering import SteeringBasis

    hf_model, tokenizer = load(model)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        tasks: dict[str, Any] = {}

        def show(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label)
            bar.update(tasks[label], completed=done, total=total)

        if calibrate:
            kept = SteeringBasis.from_pretrained(folder, hf_model)
            basis = kept.recalibrated(hf_model, tokenizer, seed=seed, progress=show)
        else:
            basis = SteeringBasis.fit(
                hf_model, tokenizer, dimensions=DIMENSIONS, seed=seed, effort=effort, progress=show
            )
    basis.save_pretrained(folder)
    return basis


if __name__ == "__main__":
    sys.exit(main())
