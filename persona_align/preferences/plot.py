"""A preference vector as a picture."""

from typing import TYPE_CHECKING, Any

from persona_align.errors import MissingExtraError

if TYPE_CHECKING:
    from persona_align.preferences.vector import PreferenceVector, Reading

__all__ = ["HIGH_COLOUR", "LOW_COLOUR", "plot_vector", "short_pole"]

HIGH_COLOUR, LOW_COLOUR = "#0072B2", "#D55E00"
_ON_DARK = "#56B4E9", "#E69F00"
"""Two colours of Okabe and Ito's set, which readers with any colour vision tell apart, on white and on black."""
_FAINTEST = 0.25
_NO_MORE_THAN = 44
"""Characters of a pole's name."""


def plot_vector(vector: "PreferenceVector", ax: Any = None, k: int = 12) -> Any:
    """The strongest readings as bars: to the right the high pole, to the left the low one.

    The fainter a bar, the lower its confidence; one that is only an outline lies under the space's floor and reaches
    neither prompt nor model.

    Args:
        vector: The vector.
        ax: Matplotlib axes to draw into; None makes a figure.
        k: The most bars.

    Returns:
        The axes.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    readings = vector.top(k)
    if ax is None:
        ax = _new_axes(len(readings))
    text = ax.xaxis.label.get_color()
    colours = _ON_DARK if _is_light(text) else (HIGH_COLOUR, LOW_COLOUR)
    for row, reading in enumerate(readings):
        _bar(ax, row, reading, sure=reading.confidence >= vector.space.floor, text=text, colours=colours)
    if not readings:
        ax.text(0, 0, "Nothing is known yet.", ha="center", va="center", color=text)
    ax.axvline(0, color=text, linewidth=0.8)
    ax.set(xlim=(-1.02, 1.02), ylim=(max(len(readings), 1) - 0.4, -0.6), yticks=[], xlabel="value (faint: less sure)")
    ax.spines[["left", "right", "top"]].set_visible(False)
    return ax


def short_pole(name: str) -> str:
    """A pole's name without its explanation in brackets, cut where it is long.

    Example:
        >>> short_pole("Strong need for Play (enjoying fun, relaxation, and laughter)")
        'Strong need for Play'
    """
    plain = name.split(" (")[0]
    return plain if len(plain) <= _NO_MORE_THAN else f"{plain[: _NO_MORE_THAN - 1].rstrip()}…"


def _is_light(colour: Any) -> bool:
    """Whether text has this colour because it stands on a dark ground."""
    from matplotlib.colors import to_rgb

    return sum(to_rgb(colour)) > 1.5


def _bar(ax: Any, row: int, reading: "Reading", *, sure: bool, text: Any, colours: tuple[str, str]) -> None:
    colour = colours[0] if reading.value >= 0 else colours[1]
    alpha = _FAINTEST + (1 - _FAINTEST) * reading.confidence
    if sure:
        ax.barh(row, reading.value, color=colour, alpha=alpha, height=0.7)
    else:
        ax.barh(row, reading.value, facecolor="none", edgecolor=colour, linestyle=":", height=0.7)
    side = -1 if reading.value >= 0 else 1  # the name stands on the empty side of the axis
    # Somebody's own dimension may hold a dollar sign, which matplotlib would read as mathematics.
    name = short_pole(reading.pole).replace("$", r"\$")
    ax.text(0.03 * side, row, name, ha="right" if side < 0 else "left", va="center", color=text, fontsize="small")


def _new_axes(rows: int) -> Any:
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtraError(
            "Drawing a vector needs matplotlib.", "Install it with `pip install 'persona-align[notebooks]'`."
        ) from error
    return plt.subplots(figsize=(7.0, 0.9 + 0.3 * max(rows, 2)), layout="constrained")[1]
