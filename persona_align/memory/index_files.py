"""What Chroma writes into its index files from memory that was never cleared, which is overwritten with zeros.

A new index has room for a hundred vectors, and `length.bin` has four bytes for each vector that are only ever set for
other kinds of distance. Both come from uncleared memory of the process, so texts and vectors of anybody whom it handled
before can be in them, also of people who were erased.
"""

import os
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["clear_lengths", "clear_unused", "index_folders"]

_HEADER = struct.Struct("<iQQQQ")
_ATTEMPTS = 40


def index_folders(shard: Path) -> set[Path]:
    """The folders of the indexes that a shard has by now: up to two, one for each collection."""
    return {header.parent for header in shard.glob("*/header.bin")}


def clear_unused(indexes: Iterable[Path]) -> None:
    """Overwrite what is unused in some indexes, which nobody may be writing to meanwhile."""
    for folder in indexes:
        fields = _header(folder)
        if len(fields) == _HEADER.size:
            _, _, _, count, size = _HEADER.unpack(fields)
            _clear(folder / "data_level0.bin", count * size)
    clear_lengths(indexes)


def clear_lengths(indexes: Iterable[Path]) -> None:
    """Overwrite the lengths, which are never read, of some indexes; at any time."""
    for folder in indexes:
        _clear(folder / "length.bin", 0)


def _header(folder: Path) -> bytes:
    """The header of an index; empty where the index is gone.

    A database that was just closed closes behind us, and may be making its index anew: that takes a moment.
    """
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return (folder / "header.bin").read_bytes()[: _HEADER.size]
        time.sleep(0.005)
    return b""


def _clear(path: Path, used: int) -> None:
    with suppress(FileNotFoundError), path.open("r+b") as file:
        file.seek(used)
        unused = file.read()
        if unused.count(0) != len(unused):
            file.seek(used)
            file.write(bytes(len(unused)))
            file.flush()
            os.fsync(file.fileno())
