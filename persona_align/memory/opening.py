"""Opening a memory: a folder, a server, or a private folder that is gone when it is closed."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory.clock import Clock
from persona_align.memory.embedded import LANE_BITS, Embedded
from persona_align.memory.folder import FORMAT, Folder, remove
from persona_align.memory.server import Server, check_url

__all__ = ["close_backend", "open_backend"]

PRIVATE = "persona-align-private-"
"""How the names of private folders begin, in the folder for temporary files."""


def open_backend(path: str | Path | None, made_with: dict[str, Any]) -> tuple[Embedded | Server, Clock, Path | None]:
    """What keeps the records, the clock that numbers them, and the folder to remove at the end, if any.

    Raises:
        IncompatibleStoreError: Made with another encoder or by a newer version, or not a memory.
        StoreUnavailableError: It cannot be reached or written, or another process holds the folder.
    """
    if isinstance(path, str) and path.lower().startswith(("http://", "https://")):
        return _open_server(path, made_with), Clock(), None
    folder = Folder(_private() if path is None else Path(path))
    try:
        backend = _open_folder(folder, made_with, 1 if path is None else LANE_BITS)
        return backend, Clock(folder.read_clock(), folder.write_clock), folder.path if path is None else None
    except BaseException:
        folder.release()
        raise


def _open_server(url: str, made_with: dict[str, Any]) -> Server:
    check_url(url)
    server = Server(url)
    try:
        manifest = server.manifest({"format": FORMAT, **made_with})
        _check_made_with(url, manifest, made_with)
        if manifest["space"] != made_with["space"]:
            server.update_manifest({**manifest, "space": made_with["space"]})
    except BaseException:
        server.close()
        raise
    return server


def _open_folder(folder: Folder, made_with: dict[str, Any], lane_bits: int) -> Embedded:
    if folder.is_new:
        folder.update({**made_with, "lane_bits": lane_bits, "shards": {}})
    else:
        _check_made_with(str(folder.path), folder.manifest, made_with)
        if folder.manifest["space"] != made_with["space"]:
            folder.update({"space": made_with["space"]})
    folder.sweep()
    backend = Embedded(folder)
    try:
        backend.resume()
    except BaseException:
        backend.close()
        raise
    return backend


def _check_made_with(where: str, manifest: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise IncompatibleStoreError(
            f"The memory at {where} has format {manifest.get('format')!r}, which this version does not read.",
            "Update with `pip install --upgrade persona-align`.",
        )
    if manifest.get("reembedding"):
        raise IncompatibleStoreError(
            f"Re-embedding the memory at {where} was not finished.", "Finish it: run `persona-align reembed` again."
        )
    if (manifest.get("encoder"), manifest.get("dimension")) != (made_with["encoder"], made_with["dimension"]):
        raise IncompatibleStoreError(
            f"The memory at {where} was made with the encoder {manifest.get('encoder')} "
            f"({manifest.get('dimension')} dimensions), and the one given is {made_with['encoder']} "
            f"({made_with['dimension']} dimensions).",
            "Open it with the encoder it was made with, or re-embed it: `persona-align reembed`.",
        )


def _private() -> Path:
    """A temporary folder; what earlier processes could not remove because they were killed goes first."""
    for leftover in Path(tempfile.gettempdir()).glob(PRIVATE + "*"):
        try:
            if leftover.stat().st_uid == os.getuid() and time.time() - leftover.stat().st_mtime > 60:
                Folder(leftover).release()
                shutil.rmtree(leftover, ignore_errors=True)
        except (StoreUnavailableError, IncompatibleStoreError, OSError):
            continue
    return Path(tempfile.mkdtemp(prefix=PRIVATE))


def close_backend(backend: Embedded | Server, private: Path | None, process: int) -> None:
    """Close a backend, in the process that opened it alone, and remove a private folder."""
    if os.getpid() != process:
        return
    backend.close()
    if private is not None:
        with suppress(OSError):
            remove(private)
