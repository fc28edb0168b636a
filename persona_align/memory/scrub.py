"""Rewriting a Chroma folder, so that nothing deleted is left in it: for the folder of a server that is stopped."""

import fcntl
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory.folder import remove, sync_folder, sync_tree, unavailable
from persona_align.memory.index_files import clear_unused, index_folders
from persona_align.memory.shard import PAGE, batches, client_of, translated

__all__ = ["scrub"]


def scrub(path: str | Path) -> int:
    """Copy everything that is still there into a new folder and put that in the old one's place.

    For the folder that `chroma run --path` was started with: the server deletes rows, but keeps their bytes in its
    write-ahead log, index files and free pages. Stop the server first and start it again afterwards. When it is
    killed half-way, run it again before the server is started.

    Args:
        path: The server's folder.

    Returns:
        How many rows were kept.

    Raises:
        IncompatibleStoreError: It is no Chroma folder, or one that `forget` looks after itself.
        StoreUnavailableError: It cannot be read or written, or something has it open.
    """
    folder = Path(path).expanduser().absolute()
    new = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.new")
    old = folder.with_name(f"{folder.name}.old")
    if (folder / "manifest.json").exists():
        raise IncompatibleStoreError(
            f"{folder} is a memory folder, in which `forget` leaves nothing.", "Name the folder of a Chroma server."
        )
    _finish_earlier(folder, old)
    if not (folder / "chroma.sqlite3").exists():
        raise IncompatibleStoreError(f"{folder} is no Chroma folder.", "Name the one given to `chroma run --path`.")
    _check_closed(folder / "chroma.sqlite3")
    try:
        for leftover in folder.parent.glob(f"{folder.name}.*.new"):
            remove(leftover)
        kept = _copy(folder, new)
        sync_tree(new)
        folder.rename(old)
        new.rename(folder)
        sync_folder(folder.parent)
        remove(old)
    except OSError as error:
        raise unavailable(folder, error) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(new, ignore_errors=True)
    return kept


def _finish_earlier(folder: Path, old: Path) -> None:
    if not old.exists():
        return
    if not folder.exists():  # killed between the two renames
        old.rename(folder)
    elif any(folder.parent.glob(f"{folder.name}.*.new")):  # killed there, and then somebody made the folder anew
        raise StoreUnavailableError(
            f"An earlier run was killed: {old} holds the data, and {folder} was made since.",
            f"Move {folder} away and {old} back to its place, and run it again.",
        )
    else:  # killed before it could remove it
        remove(old)


def _copy(folder: Path, new: Path) -> int:
    with translated():
        source, target = client_of(folder), client_of(new)
        try:
            return sum(_copy_collection(collection, target) for collection in source.list_collections())
        finally:
            source.close()
            target.close()
            clear_unused(index_folders(new))


def _copy_collection(collection: Any, target: Any) -> int:
    hnsw = {key: value for key, value in (collection.configuration_json.get("hnsw") or {}).items() if value is not None}
    copy = target.create_collection(
        collection.name,
        metadata=collection.metadata,
        embedding_function=None,
        configuration={"hnsw": hnsw} if hnsw else None,
    )
    ids = collection.get(include=[])["ids"]
    for part in batches(ids, PAGE):
        found = collection.get(ids=part, include=["embeddings", "documents", "metadatas", "uris"])
        documents, uris = found["documents"], found["uris"]
        copy.add(
            ids=found["ids"],
            embeddings=np.asarray(found["embeddings"], np.float32),
            metadatas=found["metadatas"],
            documents=documents if documents and all(text is not None for text in documents) else None,
            uris=uris if uris and all(uri is not None for uri in uris) else None,
        )
    if copy.count() != len(ids):
        raise StoreUnavailableError(
            f"Of {len(ids)} rows of {collection.name} {copy.count()} were copied, so the folder was left as it was.",
            "Check the free disk space and run it again.",
        )
    return len(ids)


def _check_closed(database: Path) -> None:
    """SQLite marks an open database with locks that only show while it reads or writes: ask who has the file open."""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                if handle.is_symlink() and os.path.realpath(handle) == str(database.resolve()):
                    raise StoreUnavailableError(
                        f"Process {process.name} has {database} open.", "Stop the Chroma server first."
                    )
    with database.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreUnavailableError(f"{database} is in use.", "Stop the Chroma server first.") from error
