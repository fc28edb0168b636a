"""Accuracies as bars with their intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_align.errors import MissingExtraError

__all__ = ["bars"]


def bars(
    rows: Sequence[tuple[str, Mapping[str, Any], bool]], path: Path, *, title: str, chance: float | None = None
) -> None:
    """Write one bar a row, with its 95 % interval; the suffix of `path` names the format.

    Args:
        rows: A label, a result with "accuracy" and "interval", and whether it is ours (a baseline is grey).
        path: The file.
        title: Above the figure.
        chance: Where to draw the line of chance.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The figure needs matplotlib.", 'pip install "persona-align[eval]"') from error
    figure = Figure(figsize=(8, 0.34 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, (_, result, ours) in enumerate(reversed(rows)):
        value, (low, high) = result["accuracy"], result["interval"]
        axes.barh([place], [value], color="#2f6f9f" if ours else "#bbbbbb", height=0.7)
        axes.plot([low, high], [place, place], color="#222222", linewidth=1.5)
        axes.text(0.01, place, f"{value:.3f}", va="center", color="white" if ours else "#222222", fontsize=8)
    if chance is not None:
        axes.axvline(chance, color="#222222", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])
    axes.set_xlim(0, 1)
    axes.set_title(title)
    figure.savefig(path)
