"""An entry as Chroma holds it: one id, one embedding, one flat metadata."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.memory.entry import Entry
from persona_align.records import parse_record

__all__ = ["Row", "entry_of", "numbers_of", "row_id", "row_of", "user_key"]


class Row(NamedTuple):
    """One row of a Chroma collection.

    Args:
        id: The hash of user and record id, so that two users may use the same record id.
        embedding: Shape [d].
        metadata: `user_id`, `record` (JSON, as export writes it), `seq`, `numbers` and `version`.
    """

    id: str
    embedding: NDArray[np.float32]
    metadata: dict[str, Any]


def user_key(user_id: str) -> str:
    """The hash that decides where a user's records lie: hexadecimal, evenly spread.

    Example:
        >>> user_key("ada")[:8]
        'fdee430d'
    """
    return hashlib.sha256(user_id.encode()).hexdigest()[:32]


def row_id(user_id: str, record_id: str) -> str:
    """The id of a user's record among everybody's."""
    user = user_id.encode()
    return hashlib.sha256(len(user).to_bytes(8, "big") + user + record_id.encode()).hexdigest()[:40]


def row_of(user_id: str, entry: Entry, seq: int) -> Row:
    """The row of a dated entry that arrived as number `seq`."""
    record = entry.record.model_dump(mode="json", exclude_none=True)
    metadata = {
        "user_id": user_id,
        "record": json.dumps(record, ensure_ascii=False, separators=(",", ":")),
        "seq": seq,
        **numbers_of(entry.numbers, entry.version),
    }
    return Row(row_id(user_id, entry.record.id), entry.embedding, metadata)


def numbers_of(numbers: Mapping[str, NDArray[Any]], version: str) -> dict[str, str]:
    """The two metadata fields of a scorer: its arrays, packed, and its version."""
    arrays = {name: np.ascontiguousarray(array) for name, array in numbers.items()}
    header = {name: [array.dtype.str, list(np.shape(numbers[name]))] for name, array in arrays.items()}
    packed = b"".join(array.tobytes() for array in arrays.values())
    text = json.dumps(header, separators=(",", ":")) + "\n" + base64.b64encode(packed).decode()
    return {"numbers": text, "version": version}


def entry_of(row: Row) -> tuple[int, Entry]:
    """The arrival number and the entry of a row."""
    metadata = row.metadata
    entry = Entry(
        record=parse_record(json.loads(metadata["record"])),
        embedding=row.embedding,
        numbers=_unpack(metadata["numbers"]),
        version=metadata["version"],
    )
    return int(metadata["seq"]), entry


def _unpack(text: str) -> dict[str, NDArray[Any]]:
    header, _, packed = text.partition("\n")
    data = base64.b64decode(packed)
    return {name: np.ndarray(shape, dtype, data, start) for name, dtype, shape, start in _layout(header)}


@lru_cache(maxsize=256)
def _layout(header: str) -> tuple[tuple[str, np.dtype[Any], tuple[int, ...], int], ...]:
    """Name, type, shape and start of each array: few of them differ between records, and none is personal."""
    found, start = [], 0
    for name, (kind, shape) in json.loads(header).items():
        dtype = np.dtype(kind)
        found.append((name, dtype, tuple(shape), start))
        start += math.prod(shape) * dtype.itemsize
    return tuple(found)
