"""Unused room in Chroma's index files: it holds whatever was in the process's memory, so it is cleared.

When an index is made, Chroma writes room for a hundred vectors from memory that was never cleared: texts and vectors
of anybody that the process handled before end up in the file, also of people who were erased.
"""

import os
import struct
from pathlib import Path

__all__ = ["clear_unused"]

_HEADER = struct.Struct("<iQQQQ")


def clear_unused(shard: Path) -> int:
    """Write zeros over the unused room of every index under a shard's folder; gives the number of indexes found."""
    found = 0
    for header in shard.glob("*/header.bin"):
        data = header.with_name("data_level0.bin")
        with header.open("rb") as file:
            fields = file.read(_HEADER.size)
        if len(fields) < _HEADER.size or not data.exists():
            continue
        found += 1
        _, _, _, count, size = _HEADER.unpack(fields)
        unused = data.stat().st_size - count * size
        if unused > 0:
            with data.open("r+b") as file:
                file.seek(count * size)
                file.write(bytes(unused))
                file.flush()
                os.fsync(file.fileno())
    return found
