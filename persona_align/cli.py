"""`persona-align`: the command line. Commands live in `persona_align.commands`."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from persona_align.commands.backfill import backfill
from persona_align.commands.chat import chat
from persona_align.commands.console import in_shell
from persona_align.commands.correct import correct, release
from persona_align.commands.demo import demo
from persona_align.commands.dimensions import dimensions
from persona_align.commands.doctor import doctor
from persona_align.commands.evaluate import evaluate
from persona_align.commands.ingest import ingest
from persona_align.commands.person import export, forget, restore
from persona_align.commands.reembed import reembed
from persona_align.commands.scrub import scrub
from persona_align.commands.serve import serve
from persona_align.commands.show import explain, show
from persona_align.errors import PersonaAlignError

__all__ = ["app", "main"]


class _Told(TyperGroup):
    """Turns what this library raises on purpose into one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PersonaAlignError as error:
            typer.secho(f"Error: {error.message}", err=True, fg="red")
            if error.remedy:
                typer.echo(in_shell(error.remedy), err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="persona-align",
    cls=_Told,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a trace with local variables would print what people said
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Begin": (demo, ingest, chat, serve),
    "See and correct": (show, explain, dimensions, correct, release),
    "Rights of the person": (forget, export, restore),
    "Operate": (doctor, reembed, scrub, backfill),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        settings = {"ignore_unknown_options": True} if _command is correct else None  # its value may be negative
        app.command(rich_help_panel=_panel, context_settings=settings)(_command)
app.add_typer(evaluate, name="eval", rich_help_panel="Operate")


def _version(asked: bool) -> None:
    if asked:
        from persona_align import __version__

        typer.echo(f"persona-align {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Learn how each user likes to be answered, from their chats, and align every reply.

    Begin with `persona-align demo`. With your own chats: `persona-align ingest chat.json --user ada`,
    then `persona-align show ada` and `persona-align chat --user ada`.

    Memory is a folder in the current directory unless --store or PERSONA_ALIGN_STORE names another. Nothing is sent
    anywhere. Exit codes: 0 done, 1 it could not be done (the reason is on stderr), 2 wrong usage.
    """


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter is no reason to stop
    app()
