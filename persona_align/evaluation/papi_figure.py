"""The PAPI comparison as a figure: error per arm with its interval, the trivial baselines as marks."""

from pathlib import Path
from typing import Any

from persona_align.errors import MissingExtraError

__all__ = ["draw"]


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the figure of a result of `papi.run`; the suffix of `path` names the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The figure needs matplotlib.", 'pip install "persona-align[eval]"') from error
    rows = [(name, arm, "#2f6f9f") for name, arm in result["arms"].items()]
    rows += [(name, arm, "#999999") for name, arm in result["baselines"].items()]
    rows.sort(key=lambda row: row[1]["composite"][0], reverse=True)
    figure = Figure(figsize=(8, 0.34 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, (_, arm, colour) in enumerate(rows):
        value, low, high = arm["composite"]
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([value], [place], "o", color=colour)
    axes.set_yticks(range(len(rows)), [f"{name} (n={arm['people']})" for name, arm, _ in rows])
    axes.set_xlabel("composite mean absolute error (lower is better), 95 % interval over people")
    axes.set_title("Answering 180 statements as a person would; grey: no model at all")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path)
