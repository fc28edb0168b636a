"""`persona-align ingest`: somebody's chat history into memory."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from persona_align.commands.console import note, print_json, progress, shortened, waiting
from persona_align.commands.opening import named, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, FormatName, Store
from persona_align.errors import InvalidRecordError

__all__ = ["ingest"]

_BATCH = 128
"""Records that are encoded and written at once."""


def ingest(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, JSON Lines, or the zip that ChatGPT mails as an export.")
    ],
    user: Annotated[str, typer.Option("--user", "-u", help="Whose history it is: any id, for instance ada.")],
    format: Annotated[FormatName, typer.Option("--format", "-f", help="How the file is written.")] = "auto",
    case: Annotated[
        int | None,
        typer.Option("--case", min=0, help="Read only this conversation or case of the file, counted from 0."),
    ] = None,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Record somebody's chat history, so that replies to them can be aligned.

    The whole file is checked before anything is recorded, and reading the same file again adds nothing. Only what the
    user wrote, and what they preferred, moves their preferences. No language model is called.

    Formats: openai (messages with role and content, a list or one to a line), sharegpt, langchain (messages_to_dict,
    dumpd, model_dump), chatgpt-export (the zip or its conversations.json), alignx and prefeval (benchmark cases),
    records (what `persona-align export` writes).

    Example: persona-align ingest chat.jsonl --user ada
    """
    from persona_align.formats import open_source

    named(user)
    with waiting("Checking the file…"):
        source = open_source(file, format)
        kinds = Counter(record.kind for record in source.records(case=case))
        people = source.people if case is None else 1
    total = kinds.total()
    if not total:
        raise InvalidRecordError(f"{file} holds no messages with text.", "Check that it is the right file.")
    if people > 1:
        note(f"Note: {file} holds {people} cases, each of another person; all go to {user}. --case N takes one.")
    new = done = 0
    with opened(store, encoder, new=True) as aligner, progress(f"Learning from {file.name}", total) as shown:
        # The file may have grown since it was checked: no more than what was checked is read.
        records = islice(source.records(case=case), total)
        while batch := list(islice(records, _BATCH)):
            ids = {record.id for record in batch}
            new += len(ids - aligner.memory.known(user, list(ids)))
            aligner.record(user, *batch)
            done += len(batch)
            shown.update(shown.task_ids[0], completed=done)
    result = {"user_id": user, "format": source.format, "records": total, "new": new, "kinds": dict(kinds)}
    if as_json:
        print_json(result)
        return
    parts = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
    typer.echo(f"Read {shortened(str(file))} ({source.format}): {parts}; {new} new for {user}.")
    typer.echo(f"See what they tell: persona-align show {user}")
