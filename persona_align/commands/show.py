"""`persona-align show` and `explain`: what is known of somebody, and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_align.commands.console import FAINT, bar, print_json, screen, shortened
from persona_align.commands.opening import named, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, DimensionKey, Encoder, Store, User

if TYPE_CHECKING:
    from rich.table import Table

    from persona_align.aligner import PersonaAligner
    from persona_align.records import Record

__all__ = ["explain", "quoted", "readings", "show", "vector_table"]


def show(
    user: User,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many dimensions, the strongest first.")] = 15,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Show somebody's preferences: a bar, value, confidence and number of pieces of evidence for each dimension.

    A value is in [-1, 1], from one pole to the other; a confidence in [0, 1]. What is known with less confidence than
    the space's floor (0.2) is shown faint and shapes no reply. With --json, all known dimensions are printed.
    """
    named(user)
    with opened(store, encoder) as aligner:
        if as_json:
            print_json({"user_id": user, "dimensions": readings(aligner, user)})
            return
        known = len(aligner.preferences(user).top(len(aligner.space)))
        if not known:
            typer.echo(f"Nothing is known of {user} yet.")
            typer.echo(f"Teach it: persona-align ingest FILE --user {user}")
            return
        screen().print(vector_table(aligner, user, top))
        strongest = aligner.preferences(user).top(1)[0].key
        more = f"{known - top} more with --top {known}. " if known > top else ""
        typer.echo(f"{more}Why: persona-align explain {user} {strongest}")


def explain(
    user: User,
    dimension: DimensionKey,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Show the records that moved one dimension, the strongest first, with signed weights.

    A positive weight moved it towards the high pole, a negative one towards the low pole.

    Example: persona-align explain ada conciseness
    """
    named(user)
    with opened(store, encoder) as aligner:
        evidence = aligner.explain(user, dimension)
        reading = aligner.preferences(user)[dimension]
    if as_json:
        found = [{"weight": each.weight, **each.record.model_dump(mode="json", exclude_none=True)} for each in evidence]
        print_json({"user_id": user, "dimension": dimension, **_plain(reading), "evidence": found})
        return
    about = reading.dimension
    typer.echo(f"{dimension}: from “{about.low}” (-1) to “{about.high}” (+1)")
    if not evidence:
        typer.echo(
            f"Nothing that {user} said or chose tells. Set it by hand: persona-align correct {user} {dimension} 1"
        )
        return
    typer.echo(f"{user}: {reading.value:+.2f}, confidence {reading.confidence:.2f}")
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name, justify in (("weight", "right"), ("when", "left"), ("record", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for each in evidence:
        when = each.record.at.strftime("%Y-%m-%d") if each.record.at else ""
        table.add_row(f"{each.weight:+.2f}", Text(when, FAINT), Text(quoted(each.record)))
    screen().print(table)


def readings(aligner: "PersonaAligner", user: str) -> dict[str, dict[str, Any]]:
    """Every known dimension as plain numbers, the strongest first, with the number of records behind it."""
    vector = aligner.preferences(user)
    return {
        reading.key: {**_plain(reading), "evidence": len(aligner.explain(user, reading.key))}
        for reading in vector.top(len(vector))
    }


def vector_table(aligner: "PersonaAligner", user: str, top: int) -> "Table":
    """The strongest dimensions of somebody as a table with bars."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=True, title=shortened(user, 60), title_justify="left")
    table.add_column("dimension", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("value", "confidence", "evidence"):
        table.add_column(name, justify="right")
    table.add_column("leans to", style=FAINT, no_wrap=True, overflow="ellipsis", ratio=1)
    for reading in aligner.preferences(user).top(top):
        sure = reading.confidence >= aligner.space.floor
        table.add_row(
            reading.key,
            bar(reading.value, reading.confidence),
            f"{reading.value:+.2f}",
            f"{reading.confidence:.2f}",
            str(len(aligner.explain(user, reading.key))),
            reading.pole,
            style=None if sure else FAINT,
        )
    return table


def quoted(record: "Record", width: int = 160) -> str:
    """A record on one line."""
    from persona_align.records import Comparison, Correction

    match record:
        case Comparison(chosen=chosen, rejected=rejected):
            return f"preferred “{shortened(chosen, width // 2)}” to “{shortened(rejected, width // 2)}”"
        case Correction(action="lock", value=value):
            return f"set by hand to {value:+.2f}"
        case Correction(action=action):
            return f"{action} by hand"
        case _:
            return f"“{shortened(record.texts[0], width)}”"


def _plain(reading: Any) -> dict[str, Any]:
    return {
        "value": reading.value,
        "confidence": reading.confidence,
        "support": reading.support,
        "pole": reading.pole,
    }
