"""The data folder: what it was made with, who holds it, and which shard folders count."""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from persona_align.errors import IncompatibleStoreError, PersonaAlignError, StoreUnavailableError

__all__ = ["FORMAT", "Folder", "write_atomically"]

FORMAT = 1
"""The version of the layout; a folder of a newer one is refused."""
_ATTEMPTS = 150
_PATIENCE = 1.0


class Folder:
    """A data folder, held by one process at a time.

    Beside `manifest.json` it has `shards/` (one Chroma folder each, those that the manifest names), `intents/`
    (erasures and large writes that are under way, to be finished or undone by the next process), `clock`, and
    `damaged/` if a shard had to be recovered.

    Args:
        path: The folder; made if it does not exist.

    Raises:
        StoreUnavailableError: It cannot be made, read or written, or another process holds it.
        IncompatibleStoreError: It is a file, holds something else, or was made by a newer version.
    """

    _held: ClassVar[dict[Path, int]] = {}
    _held_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._manifest_lock = threading.Lock()
        self._lock_file: int | None = None
        self._prepare()
        self._take()
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self.release()
            raise

    @property
    def shards(self) -> Path:
        """Where the shard folders lie."""
        return self.path / "shards"

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever written to it."""
        return not self.manifest

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change the manifest: at once, wholly, and on disk before it returns."""
        with self._manifest_lock:
            manifest = {**self.manifest, **changes, "format": FORMAT}
            write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1).encode())
            self.manifest = manifest

    def switch(self, removed: str, added: Mapping[str, str], more: Mapping[str, Any] | None = None) -> None:
        """Replace one shard, by its prefix, with others, and change other fields at the same moment."""
        with self._manifest_lock:
            shards = {prefix: name for prefix, name in self.manifest["shards"].items() if prefix != removed}
            manifest = {**self.manifest, **(more or {}), "shards": {**shards, **added}}
            write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1).encode())
            self.manifest = manifest

    def read_clock(self) -> int:
        """The upper bound of all arrival numbers that were ever given out."""
        try:
            return int((self.path / "clock").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def write_clock(self, bound: int) -> None:
        """Note a new upper bound."""
        write_atomically(self.path / "clock", str(bound).encode())

    def intents(self) -> list[dict[str, Any]]:
        """What is under way, or was when the last process ended, in the order it was begun."""
        found = []
        for file in sorted((self.path / "intents").glob("*.json")):
            with suppress(FileNotFoundError):  # another thread has just finished it
                found.append({**json.loads(file.read_text(encoding="utf-8")), "file": file.name})
        return found

    def begin(self, name: str, intent: Mapping[str, Any]) -> str:
        """Put an intent on disk; gives the name to end it with."""
        write_atomically(self.path / "intents" / f"{name}.json", json.dumps(intent).encode())
        return f"{name}.json"

    def end(self, name: str) -> None:
        """Take an intent off the disk."""
        (self.path / "intents" / name).unlink(missing_ok=True)
        sync_folder(self.path / "intents")

    def sweep(self) -> None:
        """Remove shard folders that the manifest does not name: rebuilds that were not finished, or were replaced."""
        known = set(self.manifest.get("shards", {}).values())
        for folder in self.shards.iterdir():
            if folder.name not in known:
                remove(folder)
        for folder in (self.path, self.path / "intents"):
            for leftover in folder.glob("*.part"):
                leftover.unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Keep a damaged shard under `damaged/`."""
        source, target = self.shards / name, self.path / "damaged" / name
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if source.exists():
                _patiently(lambda: shutil.copytree(source, target, dirs_exist_ok=True))
        except OSError as error:
            raise unavailable(self.path, error) from error

    def damaged(self) -> list[Path]:
        """The shards that were put aside."""
        folder = self.path / "damaged"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def release(self) -> None:
        """Let another process have it."""
        if self._lock_file is None:
            return
        with self._held_lock:
            self._held.pop(self.path.resolve(), None)
        with suppress(OSError):
            os.close(self._lock_file)
        self._lock_file = None

    def _prepare(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise IncompatibleStoreError(f"{self.path} is a file and not a memory folder.", "Name a folder.")
        manifest = self.path / "manifest.json"
        try:
            strangers = self.path.is_dir() and not manifest.exists() and _strangers(self.path)
        except OSError as error:
            raise unavailable(self.path, error) from error
        if strangers:
            raise IncompatibleStoreError(
                f"{self.path} is not empty and holds no memory of persona-align (found {strangers!r}).",
                "Name an empty folder, or one that persona-align made.",
            )
        try:
            for folder in (self.path, self.shards, self.path / "intents"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable(self.path, error) from error

    def _take(self) -> None:
        path = self.path.resolve()
        with self._held_lock:
            if self._held.get(path) == os.getpid():
                raise StoreUnavailableError(
                    f"The memory folder {self.path} is already open in this process.",
                    "Share the open one between threads, or close it first.",
                )
            try:
                handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise unavailable(self.path, error) from error
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                os.close(handle)
                raise StoreUnavailableError(
                    f"The memory folder {self.path} is in use by {holder}.",
                    "Close it there; or let several processes share a Chroma server: `chroma run --path DIR`, "
                    'then open "http://localhost:8000" instead of the folder.',
                ) from None
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            except OSError as error:
                os.close(handle)
                raise unavailable(self.path, error) from error
            self._held[path] = os.getpid()
            self._lock_file = handle

    def _read_manifest(self) -> dict[str, Any]:
        file = self.path / "manifest.json"
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise unavailable(self.path, error) from error
        except ValueError as error:
            raise IncompatibleStoreError(
                f"{file} cannot be read: {error}.", "Restore it from a backup of the folder."
            ) from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise IncompatibleStoreError(f"{file} is not a manifest of persona-align.", "Name another folder.")
        if manifest["format"] > FORMAT:
            raise IncompatibleStoreError(
                f"The memory folder {self.path} has format {manifest['format']}; this version reads up to {FORMAT}.",
                "Update with `pip install --upgrade persona-align`.",
            )
        return manifest


def write_atomically(path: Path, data: bytes) -> None:
    """Put data into a file so that after a crash either the old or the new content is there."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise unavailable(path.parent, error) from error


def sync_tree(folder: Path) -> None:
    """Put every file under a folder on disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                handle = os.open(Path(root) / name, os.O_RDONLY)
            except FileNotFoundError:
                continue  # the write-ahead log of a database that was just closed, whose content is in the database
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))


def remove(folder: Path) -> None:
    """Remove a folder or file and everything in it, also where a database that was just closed removes files of it."""
    if folder.is_dir() and not folder.is_symlink():
        _patiently(lambda: shutil.rmtree(folder))
    else:
        folder.unlink(missing_ok=True)
    sync_folder(folder.parent)


def settle(shard: Path) -> None:
    """Wait until the database of a shard that was just closed, which happens behind us, has put its log away."""
    log, end = shard / "chroma.sqlite3-wal", time.monotonic() + _PATIENCE
    while log.exists() and time.monotonic() < end:
        time.sleep(0.002)


def _patiently(call: Callable[[], Any]) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            call()
        except OSError:
            time.sleep(0.02)
        else:
            return
    call()


def unavailable(path: Path, error: OSError) -> PersonaAlignError:
    """The error for a folder that the operating system does not let us use."""
    return StoreUnavailableError(
        f"The memory folder {path} cannot be used: {error.strerror or error}.",
        "Check its permissions and the free disk space; nothing that was acknowledged is lost.",
    )


def sync_folder(folder: Path) -> None:
    """Put the list of files in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _strangers(path: Path) -> str:
    ours = {"lock", "clock", "shards", "intents", "damaged", "manifest.json.part"}
    return next((child.name for child in sorted(path.iterdir()) if child.name not in ours), "")
