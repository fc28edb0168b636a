"""`persona-align forget`, `export` and `restore`: a person's rights over what is known of them."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_align.commands.console import note, print_json, waiting
from persona_align.commands.opening import named, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, Store, User, Yes
from persona_align.errors import InvalidRecordError, PersonaAlignError

if TYPE_CHECKING:
    from persona_align import Receipt

__all__ = ["export", "forget", "restore"]


def forget(
    user: User,
    before: Annotated[
        datetime | None,
        typer.Option(
            "--before",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"],
            help="Only what is older than this day (UTC) or time.",
        ),
    ] = None,
    record: Annotated[
        list[str] | None, typer.Option("--record", help="Only the record of this id; may be given several times.")
    ] = None,
    yes: Yes = False,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person from memory: from every byte on disk, and print a receipt.

    The receipt says what was erased and verified, and what lies out of reach and how to clear it. This cannot be
    undone: `persona-align export` first, if the person wants a copy.
    """
    what = (
        f"the {_counted(len(record))} named"
        if record
        else f"everything before {before:%Y-%m-%d}"
        if before
        else "everything"
    )
    named(user)
    with opened(store, encoder) as aligner:
        if not yes:
            typer.confirm(f"Erase {what} of {user} from {store}? This cannot be undone.", abort=True, err=True)
        with waiting("Erasing and verifying…"):
            receipt = aligner.forget(user, before=_utc(before), record_ids=record or None)
    if as_json:
        print_json(receipt.to_json())
    else:
        _tell(receipt)


def export(
    user: User,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of printing.")
    ] = None,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
) -> None:
    """Print everything held about a person as one JSON document.

    `persona-align restore` brings it back, here or elsewhere, with exactly the same preferences.

    Example: persona-align export ada --output ada.json
    """
    named(user)
    with opened(store, encoder) as aligner:
        data = aligner.export(user)
    if not data["records"]:
        note(f"Nothing is held about {user}.")
    if output is None:
        print_json(data)
        return
    try:
        _write_privately(output, json.dumps(data, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise PersonaAlignError(f"{output} cannot be written: {error.strerror}.", "Name another file.") from None
    note(f"Wrote {_counted(len(data['records']))} of {user} to {output}.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `persona-align export` wrote.")],
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Bring back what `export` wrote, under the same user and with exactly the same preferences."""
    from persona_align.formats import read_document

    data = read_document(file)
    if not isinstance(data, dict):
        raise InvalidRecordError(f"{file} is not an export.", "Give what `persona-align export` wrote.")
    with opened(store, encoder, new=True) as aligner, waiting("Restoring…"):
        ids = aligner.restore(data)
    if as_json:
        print_json({"user_id": data["user_id"], "records": len(ids)})
    else:
        typer.echo(f"Restored {_counted(len(ids))} of {data['user_id']}.")


def _utc(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _write_privately(path: Path, content: bytes) -> None:
    """Written whole or not at all, and readable by its owner alone."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def _counted(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"


def _tell(receipt: "Receipt") -> None:
    typer.echo(f"Erased {_counted(receipt.erased)} of {receipt.user_id}; {receipt.remaining} left.")
    for sentence in receipt.verified:
        typer.echo(f"  ✓ {sentence}")
    if not receipt.complete:
        typer.secho("Not everything could be erased here:", bold=True)
    elif receipt.out_of_reach:
        typer.echo("Out of reach of this memory:")
    for sentence in receipt.out_of_reach:
        typer.echo(f"  • {sentence}")
