"""The losses of a training: a bar on the screen, a log on disk, a plot in the end."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

__all__ = ["Progress", "loss_plot"]

_EVERY = 25
_COLOURS = {"chat": "#1f77b4", "letters": "#d62728", "facets": "#2ca02c"}


class Progress:
    """Averages losses over some steps, shows them and writes them down."""

    def __init__(self, log: Path, history: list[dict[str, float]], *, steps: int, leads: bool = True) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.history = history
        self._log, self._leads = log, leads
        self._begin()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, disable=not leads or not sys.stderr.isatty())
        self._task = self._bar.add_task("training", total=steps, completed=int(history[-1]["step"]) if history else 0)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def add(self, step: int, losses: dict[str, float], *, seconds: float) -> None:
        """One step."""
        for name, value in losses.items():
            self._sums.setdefault(name, []).append(value)
        self._seconds.append(seconds)
        self._bar.update(self._task, completed=step)
        if step % _EVERY:
            return
        line = {"step": float(step), **{name: round(_mean(values), 4) for name, values in self._sums.items()}}
        self.history.append(line)
        if self._leads:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "seconds_per_step": round(_mean(self._seconds), 2)}) + "\n")
        shown = " ".join(f"{name} {value:.3f}" for name, value in line.items() if name != "step")
        self._bar.update(self._task, description=shown)
        self._begin()

    def _begin(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._seconds: list[float] = []


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def loss_plot(history: Sequence[dict[str, float]]) -> str:
    """The losses over the steps, each scaled to its own start, as an SVG."""
    width, height, edge = 640, 240, 30
    last = max((line["step"] for line in history), default=1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{edge} {edge}V{height - edge}H{width - edge}" fill="none" stroke="#888"/>',
        f'<text x="{width - edge}" y="{height - 10}" text-anchor="end">step {last:.0f}</text>',
    ]
    for number, (name, colour) in enumerate(_COLOURS.items()):
        values = [(line["step"], line[name]) for line in history if name in line]
        if not values:
            continue
        top = max(value for _, value in values) or 1.0
        points = " ".join(
            f"{edge + (width - 2 * edge) * step / last:.1f},{height - edge - (height - 2 * edge) * value / top:.1f}"
            for step, value in values
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        label = (
            f"{name}: {values[0][1]:.3f} to {values[-1][1]:.3f} nats" if name != "facets" else f"{name}: squared error"
        )
        parts.append(
            f'<text x="{width - edge}" y="{edge + 14 * number}" text-anchor="end" fill="{colour}">{label}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
