"""Moving a memory folder to another encoder, in place, shard by shard; a killed run goes on where it stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.errors import IncompatibleStoreError, InvalidRecordError
from persona_align.memory.embedded import Embedded
from persona_align.memory.entry import Entry
from persona_align.memory.folder import Folder
from persona_align.memory.rows import Row, entry_of, numbers_of
from persona_align.records import Record, Summary

__all__ = ["reembed"]


def reembed(
    path: str | Path,
    encode: Callable[[Sequence[Record]], Sequence[Entry]],
    *,
    encoder: str,
    dimension: int,
    space: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Make every embedding and every scorer's numbers of a folder anew; gives how many records that were.

    Until it has finished the folder cannot be opened as a memory. Records, their order and their times stay as they
    are.

    Args:
        path: The folder.
        encode: Gives for some records, all of one shard, their entries with the new encoder.
        encoder: Fingerprint of the new encoder.
        dimension: Length of its embeddings.
        space: Fingerprint of the space that the new numbers are for; None: as before.
        progress: Called with how many records are done, and of how many.

    Raises:
        IncompatibleStoreError: The path is a server, or no memory.
        StoreUnavailableError: Another process holds it, or it cannot be written.
        InvalidRecordError: `encode` gave something else than one entry of the dimension for each record.
    """
    if str(path).lower().startswith(("http://", "https://")):
        raise IncompatibleStoreError(
            f"{path} is a server, which cannot be re-embedded in place.",
            "Export its users and restore them into a memory that was opened with the new encoder.",
        )
    if not (Path(path) / "manifest.json").exists():
        raise IncompatibleStoreError(f"{path} holds no memory.", "Name a folder that persona-align made.")
    folder = Folder(Path(path))
    backend = Embedded(folder)
    try:
        folder.sweep()
        backend.resume()
        return _run(backend, encode, {"encoder": encoder, "dimension": dimension}, space, progress)
    finally:
        backend.close()


def _run(
    backend: Embedded,
    encode: Callable[[Sequence[Record]], Sequence[Entry]],
    goal: dict[str, Any],
    space: str | None,
    progress: Callable[[int, int], None] | None,
) -> int:
    folder = backend.folder
    begun = folder.manifest.get("reembedding") or {}
    done = list(begun.get("done", [])) if {key: begun.get(key) for key in goal} == goal else []
    prefixes = sorted(folder.manifest["shards"])
    sizes = {prefix: _count(backend, prefix) for prefix in prefixes}
    finished, total = sum(sizes[prefix] for prefix in done), sum(sizes.values())
    folder.update({"reembedding": {**goal, "done": done}})

    def change(rows: list[Row]) -> list[Row]:
        nonlocal finished
        changed = _changed(rows, encode, goal["dimension"])
        finished += len(rows)
        if progress is not None:
            progress(finished, total)
        return changed

    for prefix in prefixes:
        if prefix not in done:
            done = [*done, prefix]
            backend.rebuild(prefix, change=change, note={"reembedding": {**goal, "done": done}})
    folder.update({**goal, "space": folder.manifest["space"] if space is None else space, "reembedding": None})
    return total


def _changed(rows: list[Row], encode: Callable[[Sequence[Record]], Sequence[Entry]], dimension: int) -> list[Row]:
    summaries = [row for row in rows if isinstance(entry_of(row)[1].record, Summary)]
    if summaries:  # they have no text, and their numbers are of no encoder
        kept = [row._replace(embedding=np.zeros(dimension, np.float32)) for row in summaries]
        left_ids = {row.id for row in summaries}
        return [*kept, *_changed([row for row in rows if row.id not in left_ids], encode, dimension)]
    records = [entry_of(row)[1].record for row in rows]
    entries = encode(records)
    if [entry.record.id for entry in entries] != [record.id for record in records] or any(
        entry.embedding.shape != (dimension,) for entry in entries
    ):
        raise InvalidRecordError(
            f"Encoding {len(records)} records did not give one entry of dimension {dimension} for each, in order.",
            "Return the entries of the same records.",
        )
    return [
        Row(row.id, np.asarray(entry.embedding), {**row.metadata, **numbers_of(entry.numbers, entry.version)})
        for row, entry in zip(rows, entries, strict=True)
    ]


def _count(backend: Embedded, prefix: str) -> int:
    with backend.lease_shard(prefix) as shard:
        return 0 if shard is None else shard.count()
