"""The figures of the documentation, each in light and dark: `python docs/figures.py` writes docs/images/*.svg."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "benchmarks" / "results"
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
"""Of Okabe and Ito's set, which readers with any colour vision tell apart; the lighter ones for a dark ground."""


@dataclass(frozen=True)
class Theme:
    """The colours of one theme; the ground is transparent, so that a figure lies on any page."""

    name: str
    text: str
    quiet: str
    fill: str
    lines: tuple[str, str, str]


THEMES = (
    Theme("light", "#1b1b1b", "#8a8a8a", "#eef3f7", (BLUE, ORANGE, GREEN)),
    Theme("dark", "#e8e8e8", "#8f96a3", "#2a3342", (SKY, AMBER, PURPLE)),
)


def main() -> None:
    """Write every figure whose material is there."""
    sys.path[:0] = [str(ROOT)]
    for name, draw in FIGURES.items():
        written = write(name, draw, IMAGES)
        print(f"{name}: {'written' if written else 'left out, its measurement is not there'}")


def write(name: str, draw: Callable[[Theme], Figure | None], folder: Path) -> bool:
    """Write one figure in both themes; the same figure gives the same bytes. False where it has no material."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        style = {
            "svg.hashsalt": "persona-align", "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11,
            "text.color": theme.text, "axes.labelcolor": theme.text, "axes.edgecolor": theme.quiet,
            "xtick.color": theme.text, "ytick.color": theme.text, "legend.frameon": False,
            "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none",
        }  # fmt: skip
        with mpl.rc_context(style):
            figure = draw(theme)
            if figure is None:
                return False
            figure.savefig(folder / f"{name}-{theme.name}.svg", transparent=True, metadata={"Date": None})
    return True


def flow(theme: Theme) -> Figure:
    """Where a turn goes until it is a reply."""
    figure, ax = _canvas(9.6, 2.9)
    row = 1.45
    boxes = {
        "turn": (0.0, row, theme.fill), "memory": (1.45, row, theme.fill), "inference": (2.9, row, theme.fill),
        "vector": (4.35, row, theme.fill), "conditioning\n(prompt)": (6.0, 2.55, SKY),
        "steering\n(offsets)": (6.0, row, GREEN), "taste\n(rerank)": (6.0, 0.35, PURPLE),
        "model": (7.75, row, theme.fill), "reply": (9.2, row, theme.fill),
    }  # fmt: skip
    for label, (x, y, colour) in boxes.items():
        _box(ax, theme, x, y, label, colour)
    for start, end in [("turn", "memory"), ("memory", "inference"), ("inference", "vector"), ("model", "reply")]:
        _arrow(ax, theme, boxes[start][:2], boxes[end][:2])
    for middle in ("conditioning\n(prompt)", "steering\n(offsets)", "taste\n(rerank)"):
        _arrow(ax, theme, boxes["vector"][:2], boxes[middle][:2])
        _arrow(ax, theme, boxes[middle][:2], boxes["model"][:2])
    ax.annotate(
        "", (1.45, 0.95), (9.2, 0.95),
        arrowprops={
            "arrowstyle": "-|>", "color": theme.quiet, "linestyle": ":", "connectionstyle": "bar,fraction=-0.16"
        },
    )  # fmt: skip
    ax.text(3.6, -0.28, "what was said is kept; replies never move a vector", color=theme.quiet, size=9, ha="center")
    ax.set(xlim=(-0.7, 9.9), ylim=(-0.45, 3.1))
    return figure


def architecture(theme: Theme) -> Figure:
    """The floors of the house: each imports only downward."""
    floors = [
        (["cli", "integrations", "evaluation"], theme.fill),
        (["aligner: the facade"], BLUE),
        (["runnable", "demo", "testing"], theme.fill),
        (["models"], theme.fill),
        (["memory", "inference", "conditioning", "steering"], GREEN),
        (["records", "encoder", "preferences"], theme.fill),
        (["errors"], theme.fill),
    ]
    figure, ax = _canvas(8.0, 4.0)
    for level, (rooms, colour) in enumerate(reversed(floors)):
        width = 8.0 / len(rooms)
        for place, room in enumerate(rooms):
            _box(ax, theme, place * width + width / 2, level * 0.62, room, colour, width=width - 0.12, height=0.5)
    ax.annotate(
        "", (8.25, 0), (8.25, 3.7), arrowprops={"arrowstyle": "-|>", "color": theme.quiet}, annotation_clip=False
    )
    ax.text(8.4, 1.85, "imports only downward", rotation=270, va="center", color=theme.quiet, size=9)
    ax.set(xlim=(0, 8.6), ylim=(-0.35, 4.05))
    return figure


def vector(theme: Theme) -> Figure:  # noqa: ARG001
    """What was inferred of the bundled Ada."""
    from persona_align import PersonaAligner
    from persona_align.demo import sample_histories

    with PersonaAligner.open() as aligner:
        aligner.record("ada", *sample_histories()["ada"])
        ada = aligner.preferences("ada")
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    ada.plot(figure.add_subplot(), k=9)
    return figure


def fluency(theme: Theme) -> Figure | None:
    """Strength against fluency: combinations that the basis was not calibrated on."""
    result = _measured("steering_combinations").get("results")
    if not result:
        return None
    figure = Figure(figsize=(8.0, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [size for size in ("1", "4", "16") if size in result["preferences"]]
    for size, colour, marker in zip(shown, theme.lines, "os^", strict=False):
        points = {0.0: {"worst": 1.0, "changed": 0.0}}
        points |= {float(strength): point for strength, point in result["preferences"][size].items()}
        label = "one preference" if size == "1" else f"{size} together"
        left.plot([*points], [p["worst"] for p in points.values()], marker=marker, color=colour, label=label)
        right.plot([*points], [100 * p["changed"] for p in points.values()], marker=marker, color=colour)
    left.axhline(result["bound"], color=theme.quiet, linestyle=":", label="bound on fluency")
    left.set(xlabel="strength (1 is the default)", ylabel="perplexity, worst, times the usual", yscale="log")
    right.set(xlabel="strength (1 is the default)", ylabel="replies that changed, %")
    left.legend(fontsize="small")
    return figure


def learning(theme: Theme) -> Figure | None:
    """How many comparisons it takes: the P-Soups measurement, beside the arm that knows nobody."""
    result = _measured("taste_psoups")
    files = {name: part for name, part in _parts(result).items() if "learning" in part and "arms" in part}
    if not files:
        return None
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    ax = figure.add_subplot()
    for (name, part), colour, marker in zip(files.items(), theme.lines, "os^", strict=False):
        counts = [0, *map(int, part["learning"])]
        curve = [0.5, *(value["accuracy"] for value in part["learning"].values())]
        ax.plot(counts, curve, color=colour, marker=marker, label=name.replace("_", " "))
        ax.axhline(part["arms"]["no user"]["accuracy"], color=colour, linestyle="--", linewidth=1)
    ax.axhline(0.5, color=theme.quiet, linestyle=":")
    ax.set(xlabel="comparisons of the user (dashed: everybody else's, as one taste)", ylabel="next one ranked right")
    ax.set_xticks(counts)
    ax.legend()
    return figure


def speed(theme: Theme) -> Figure | None:
    """The time to fit one person, on a logarithmic scale."""
    result = _measured("pas_fit_speed")
    if not result:
        return None
    found = result["results"]
    bars = {
        "reference procedure": found["reference_procedure_s_per_person"] * 1000,
        "search": found["methods"]["search"]["fit_ms"],
        "linear": found["methods"]["linear"]["fit_ms"],
    }
    figure = Figure(figsize=(7.0, 1.9), layout="constrained")
    ax = figure.add_subplot()
    drawn = ax.barh(list(bars), list(bars.values()), color=[theme.quiet, theme.lines[0], theme.lines[0]], height=0.65)
    ax.bar_label(drawn, [f"{value:,.1f} ms" for value in bars.values()], padding=4, color=theme.text)
    ax.set(xscale="log", xlabel="milliseconds a person (logarithmic), geometry of an 8B model", xlim=(0.5, 400_000))
    ax.invert_yaxis()
    return figure


def _measured(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _parts(result: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in result.get("results", {}).items() if isinstance(part, dict)}


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.add_subplot()
    ax.set_axis_off()
    return figure, ax


def _box(
    ax: Any, theme: Theme, x: float, y: float, label: str, colour: str, width: float = 1.15, height: float = 0.7
) -> None:
    style = "round,pad=0,rounding_size=0.08"
    own = colour != theme.fill
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle=style, linewidth=1.2,
            facecolor=(*mpl.colors.to_rgb(colour), 0.25 if own else 1.0), edgecolor=colour if own else theme.quiet,
            zorder=2,
        )
    )  # fmt: skip
    ax.text(x, y, label, ha="center", va="center", size=9.5, zorder=3)


def _arrow(ax: Any, theme: Theme, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate(
        "", (end[0] - 0.6, end[1]), (start[0] + 0.6, start[1]),
        arrowprops={"arrowstyle": "-|>", "color": theme.quiet, "shrinkA": 0, "shrinkB": 0}, zorder=1,
    )  # fmt: skip


FIGURES = {
    "flow": flow,
    "architecture": architecture,
    "vector": vector,
    "fluency": fluency,
    "learning": learning,
    "speed": speed,
}

if __name__ == "__main__":
    main()
