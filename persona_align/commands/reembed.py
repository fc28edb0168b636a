"""`persona-align reembed`: a memory moved to another encoder."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_align.commands.console import hush, print_json, progress, waiting
from persona_align.commands.opening import is_server
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, Store
from persona_align.errors import IncompatibleStoreError, PersonaAlignError

__all__ = ["reembed"]

_BATCH = 128


def reembed(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PATH", help="Write a new memory there instead: a folder, or a server's URL."),
    ] = None,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Encode everything in a memory again, with another encoder, or move it to another place.

    A folder is rebuilt beside itself (PATH.reembedding) and takes the old one's place when it is complete. If this is
    interrupted, the old memory is untouched: the same command goes on where it stopped. Nobody else may have the
    folder open. A memory on a server is written to a new place, named with --to.

    Example: persona-align reembed --encoder sentence-transformers/all-mpnet-base-v2
    """
    old = _Old(store)
    target = to or f"{store.rstrip('/')}.reembedding"
    if to is None and is_server(store):
        raise PersonaAlignError("A memory on a server is not changed in place.", "Name a new place with --to.")
    counts = {"users": 0, "records": 0}
    finished = to is None and _finish(Path(store), Path(target))
    if not finished:
        hush(encoder)
        counts = _copy(old, target, encoder)
        if to is None:
            _swap(Path(store), Path(target))
    result = {"store": to or store, **counts}
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{result['store']}: {counts['records']} records of {counts['users']} users encoded again.")


class _Old:
    """The memory to read, opened with whatever encoder made it."""

    def __init__(self, store: str) -> None:
        self.store = store

    def open(self) -> Any:
        from persona_align.memory import Memory

        made = self._manifest()
        return Memory.open(self.store, **{name: made[name] for name in ("encoder", "dimension", "space")})

    def _manifest(self) -> dict[str, Any]:
        if is_server(self.store):
            from persona_align.memory.server import Server

            server = Server(self.store)
            try:
                return server.manifest({"format": 1})
            finally:
                server.close()
        file = Path(self.store) / "manifest.json"
        try:
            made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PersonaAlignError(f"There is no memory at {self.store}.", "Name it with --store.") from None
        except (OSError, ValueError) as error:
            raise IncompatibleStoreError(f"{file} cannot be read: {error}.", "Restore it from a backup.") from None
        return made


def _copy(old: _Old, target: str, encoder: str | None) -> dict[str, int]:
    from persona_align import PersonaAligner

    with waiting("Opening both memories…"):
        memory = old.open()
    with memory, PersonaAligner.open(target, encoder=encoder) as aligner:
        users = list(memory.users())
        records = 0
        with progress("Encoding again", len(users)) as shown:
            for user in users:
                entries = memory.history(user).entries
                for start in range(0, len(entries), _BATCH):
                    aligner.record(user, *(entry.record for entry in entries[start : start + _BATCH]))
                records += _checked(user, len(entries), len(aligner.memory.history(user).entries))
                shown.advance(shown.task_ids[0])
    return {"users": len(users), "records": records}


def _checked(user: str, expected: int, found: int) -> int:
    if found < expected:
        raise PersonaAlignError(
            f"Of {expected} records of {user!r} only {found} arrived; the old memory is untouched.",
            "Run the command again; if it stays so, report it.",
        )
    return expected


def _swap(store: Path, new: Path) -> None:
    """Put the new folder in the old one's place; `_finish` completes it after a crash in between."""
    retired = store.with_name(f"{store.name}.retired")
    store.rename(retired)
    new.rename(store)
    shutil.rmtree(retired)


def _finish(store: Path, new: Path) -> bool:
    """Complete an exchange that was interrupted; whether there was one to complete."""
    retired = store.with_name(f"{store.name}.retired")
    if not retired.exists():
        return False
    if not store.exists():
        new.rename(store)
    shutil.rmtree(retired)
    return True
