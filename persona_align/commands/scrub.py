"""`persona-align scrub`: the folder of a Chroma server rewritten, so that nothing deleted is left in it."""

from pathlib import Path
from typing import Annotated

import typer

from persona_align.commands.console import print_json, waiting
from persona_align.commands.options import AsJson

__all__ = ["scrub"]


def scrub(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `chroma run --path` was given.")],
    as_json: AsJson = False,
) -> None:
    """Rewrite the folder of a stopped Chroma server, so that no byte of what was forgotten is left in it.

    A server deletes rows and keeps their bytes in its log, index files and free pages; a receipt of `forget` says so.
    Stop the server, run this, and start it again. A memory folder needs none of it.

    Example: persona-align scrub ./chroma
    """
    with waiting("Rewriting…"):
        from persona_align.memory.scrub import scrub as rewrite

        kept = rewrite(folder)
    if as_json:
        print_json({"folder": str(folder), "rows": kept})
    else:
        typer.echo(f"{folder} was rewritten: {kept} rows are kept, and nothing else.")
