"""`persona-align dimensions`: what can be preferred, and therefore corrected."""

from typing import Annotated

import typer

from persona_align.commands.console import FAINT, print_json, screen
from persona_align.commands.options import AsJson
from persona_align.errors import PersonaAlignError

__all__ = ["dimensions"]


def dimensions(
    search: Annotated[
        str | None,
        typer.Argument(metavar="WORD", help="Only those in whose key, family or poles this word occurs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the 90 dimensions of AlignX: the key that other commands take, and what its two poles mean.

    A value of -1 is the low pole, 1 the high pole. What is marked never shapes a reply by itself: sensitive
    dimensions are off unless a program switches them on, and some poles are shown but never used.

    Example: persona-align dimensions music
    """
    from persona_align.preferences import ALIGNX

    word = (search or "").casefold()
    found = [each for each in ALIGNX if word in f"{each.key} {each.family} {each.low} {each.high}".casefold()]
    if not found:
        raise PersonaAlignError(
            f"No dimension has {search!r} in its key, family or poles.", "`persona-align dimensions` lists them all."
        )
    if as_json:
        fields = {"key", "family", "low", "high", "scope", "sensitive", "condition_on", "open_valued"}
        print_json({"dimensions": [each.model_dump(mode="json", include=fields) for each in found]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("dimension", no_wrap=True)
    table.add_column("-1")
    table.add_column("+1")
    table.add_column("", style=FAINT)
    for each in found:
        mark = "off" if each.sensitive else {"high": "+1 only", "none": "never used"}.get(each.condition_on, "")
        table.add_row(each.key, each.low, each.high, mark)
    screen().print(table)
