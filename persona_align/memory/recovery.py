"""What can still be read of a damaged shard: its rows from SQLite, page by page, and its vectors from wherever."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import InvalidRecordError
from persona_align.memory.index_files import index_folders
from persona_align.memory.index_map import read_vectors
from persona_align.memory.rows import Row, entry_of, numbers_of, row_id

__all__ = ["Recovery", "salvage"]


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What became of a damaged shard.

    Args:
        shard: The name of its folder, which was put aside under `damaged/`.
        records: How many records were recovered.
        without_embedding: How many of these lost their embedding: `persona-align reembed` makes it anew.
        unreadable: How many database rows could not be read. Those of a destroyed file cannot even be counted.
    """

    shard: str
    records: int
    without_embedding: int
    unreadable: int


def salvage(folder: Path, dimension: int) -> tuple[list[Row], Recovery]:
    """The rows that a damaged shard still gives, and an account of it.

    Args:
        folder: The shard's folder, which nobody has open.
        dimension: The length of an embedding; a lost one is zeros.
    """
    found, vectors, unreadable = _read_database(folder / "chroma.sqlite3")
    rows: dict[str, Row] = {}
    for metadata in found:
        row = _valid(metadata, dimension)
        if row is not None:
            rows[row.id] = row
    for index in index_folders(folder):
        vectors = {**read_vectors(index), **vectors}
    whole = [
        Row(key, vectors[key], row.metadata) if _usable(vectors.get(key), dimension) else row
        for key, row in rows.items()
    ]
    lost = sum(not _usable(vectors.get(key), dimension) for key in rows)
    return whole, Recovery(shard=folder.name, records=len(whole), without_embedding=lost, unreadable=unreadable)


def _read_database(file: Path) -> tuple[list[dict[str, Any]], dict[str, NDArray[np.float32]], int]:
    by_row: dict[int, dict[str, Any]] = {}
    queued: list[dict[str, Any]] = []
    vectors: dict[str, NDArray[np.float32]] = {}
    if not file.exists():
        return [], {}, 0
    with closing(sqlite3.connect(file)) as database:
        database.text_factory = bytes
        lost: list[int] = []
        for number, key, text, whole in _scan(database, "embedding_metadata", "id, key, string_value, int_value", lost):
            by_row.setdefault(number, {})[_text(key)] = whole if text is None else _text(text)
        for key, vector, metadata in _scan(database, "embeddings_queue", "id, vector, metadata", lost):
            if vector and metadata and b'"record"' in metadata:
                vectors[_text(key)] = np.frombuffer(vector, "<f4")
                queued.append(_object(metadata))
    return [*queued, *by_row.values()], vectors, len(lost)


def _scan(database: sqlite3.Connection, table: str, columns: str, lost: list[int]) -> Iterator[Sequence[Any]]:
    """All rows of a table that can be read; where a page is damaged the range is halved until it is found."""
    try:
        last = database.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        return
    ranges = [(1, last)]
    while ranges:
        low, high = ranges.pop()
        try:
            query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE rowid BETWEEN ? AND ?"
            rows = database.execute(query, (low, high)).fetchall()
        except sqlite3.DatabaseError:
            if low == high:
                lost.append(low)
            else:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
        else:
            yield from rows


def _valid(metadata: dict[str, Any], dimension: int) -> Row | None:
    try:
        user, record = metadata["user_id"], metadata["record"]
        key = row_id(user, json.loads(record)["id"])
        fields = {"user_id": user, "record": record, "seq": int(metadata.get("seq") or 0)}
        row = Row(key, np.zeros(dimension, np.float32), {**fields, **numbers_of({}, "")})
        entry_of(row)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidRecordError):
        return None
    try:
        scored = {"numbers": metadata["numbers"], "version": metadata["version"]}
        entry_of(row._replace(metadata={**row.metadata, **scored}))
    except (KeyError, TypeError, ValueError, AttributeError, InvalidRecordError):
        return row
    return row._replace(metadata={**row.metadata, **scored})


def _usable(vector: NDArray[np.float32] | None, dimension: int) -> bool:
    return vector is not None and vector.shape == (dimension,) and bool(np.isfinite(vector).all())


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
