"""A preference vector as a table for notebooks: plain HTML without scripts, readable on light and dark ground."""

from html import escape
from typing import TYPE_CHECKING

from persona_align.preferences.plot import HIGH_COLOUR, LOW_COLOUR, short_pole

if TYPE_CHECKING:
    from persona_align.preferences.vector import PreferenceVector, Reading

__all__ = ["vector_html"]

_HEADINGS = ("dimension", "prefers", "value", "", "confidence")


def vector_html(vector: "PreferenceVector", k: int = 12) -> str:
    """The strongest readings as a table; those under the floor are said to be unused.

    Args:
        vector: The vector.
        k: The most rows.
    """
    readings = vector.top(k)
    known = int((vector.confidence > 0).sum())
    caption = f"{escape(vector.space.name)}: something is known of {known} of {len(vector)} dimensions"
    if not readings:
        return f"<p>{caption}.</p>"
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in _HEADINGS)
    rows = "".join(_row(reading, used=reading.confidence >= vector.space.floor) for reading in readings)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(reading: "Reading", *, used: bool) -> str:
    left = 50 + 50 * min(reading.value, 0.0)
    colour = HIGH_COLOUR if reading.value >= 0 else LOW_COLOUR
    bar = (
        '<div style="width:10em;height:0.8em;background:rgba(128,128,128,0.2)">'
        f'<div style="margin-left:{left:.1f}%;width:{50 * abs(reading.value):.1f}%;height:100%;background:{colour};'
        f'opacity:{0.25 + 0.75 * reading.confidence:.2f}"></div></div>'
    )
    sure = f"{reading.confidence:.2f}" + ("" if used else " (too low to be used)")
    cells = (escape(reading.key), escape(short_pole(reading.pole)), f"{reading.value:+.2f}", bar, sure)
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
