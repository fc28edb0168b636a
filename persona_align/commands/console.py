"""What commands print: JSON or tables to stdout; progress, notes and questions to stderr."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

__all__ = ["bar", "clean", "hush", "in_shell", "note", "print_json", "progress", "screen", "shortened", "waiting"]

HIGH, LOW, FAINT = "#4477aa", "#cc8844", "bright_black"
"""Two colours that colour-blind readers tell apart, and one for what matters less."""

_NUMBERS = re.compile(r"\[\n\s+(-?\d[-+.\de]*(?:,\n\s+-?\d[-+.\de]*)*)\n\s*\]")
"""A list of numbers over several lines; within a JSON string there is never a line break."""
_IN_SHELL = (
    ("`space.keys` lists them all.", "`persona-align dimensions` lists them all."),
    ('`encoder="sentence-transformers/all-MiniLM-L6-v2"`', "`--encoder sentence-transformers/all-MiniLM-L6-v2`"),
)
"""What remedies say to a program, and how it is said on the command line."""
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def screen(*, error: bool = False) -> "Console":
    """Where tables go; with `error`, where progress and notes go."""
    from rich.console import Console

    return Console(stderr=error, highlight=False)


def print_json(value: Any) -> None:
    """One JSON value, readable by people too: a list of numbers stays on one line."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=plain, allow_nan=False)
    typer.echo(_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text))


def in_shell(remedy: str) -> str:
    """A remedy in the words of the command line.

    Example:
        >>> in_shell("Did you mean 'humor'? `space.keys` lists them all.")
        "Did you mean 'humor'? `persona-align dimensions` lists them all."
    """
    for said, typed in _IN_SHELL:
        remedy = remedy.replace(said, typed)
    return remedy


def note(text: str) -> None:
    """A sentence beside the result."""
    typer.echo(text, err=True)


def clean(text: str) -> str:
    """A text without control characters, so that nothing in a chat history can drive the terminal."""
    return text.translate(_CONTROLS)


def shortened(text: str, width: int = 120) -> str:
    """A text on one line."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= width else f"{flat[: width - 1].rstrip()}…"


def bar(value: float, confidence: float, half: int = 8) -> "Text":
    """A value in [-1, 1] as a bar from the middle, fainter where it is less sure.

    Example:
        >>> bar(0.5, 1.0, half=4).plain
        '    │██  '
    """
    from rich.text import Text

    length = max(round(abs(value) * half), 1 if value else 0)
    block = "█" if confidence >= 0.5 else "▓" if confidence >= 0.2 else "░"
    left = (block * length).rjust(half) if value < 0 else " " * half
    right = (block * length).ljust(half) if value > 0 else " " * half
    return Text.assemble((left, LOW), ("│", FAINT), (right, HIGH))


@contextmanager
def progress(label: str, total: int | None) -> Iterator["Progress"]:
    """A progress bar on stderr; nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = screen(error=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        shown.add_task(label, total=total)
        yield shown


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """A spinner on stderr while something of unknown length is under way."""
    console = screen(error=True)
    if not console.is_terminal:
        yield
        return
    with console.status(label):
        yield


def hush(*named: str | None) -> None:
    """Keep the bars of model libraries quiet, unless something that was named may have to be downloaded.

    These libraries read the switch when they are first imported, which commands do after this.
    """
    if all(name is None or os.path.exists(name) for name in named):  # noqa: PTH110
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
