"""The map of an index, from row ids to vectors, of which a whole copy is kept, and reading vectors by it.

Chroma puts an index on disk by writing into its files: first how many vectors there are, then the vectors, at last the
map. When the process is killed meanwhile, the map is half written, or there are vectors that it does not know, whose
places Chroma would then give out twice. With the copy, from the time before, every vector can still be told; those that
are not in it are still in Chroma's log, which is only shortened once the map is written.
"""

import pickle
import pickletools
import shutil
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_interrupted", "keep_maps", "read_vectors"]

_MAP, _COPY, _DATA = "index_metadata.pickle", "index_metadata.kept", "data_level0.bin"
_LAYOUT = struct.Struct("<iQQQQQQ")


def keep_maps(indexes: Iterable[Path]) -> None:
    """Copy the maps that have changed, while nobody writes to them. On a full disk the last copies stay."""
    for folder in indexes:
        if _stamp(folder / _MAP) != _stamp(folder / _COPY):
            with suppress(OSError):
                part = folder / f"{_COPY}.part"
                shutil.copy2(folder / _MAP, part)
                part.replace(folder / _COPY)


def is_interrupted(index: Path) -> bool:
    """Whether putting an index on disk was begun and not finished; nobody may have it open."""
    header = _read_header(index)
    if header is None:
        return False  # damaged in another way, or not begun
    stamp = _stamp(index / _MAP)
    if stamp is None:
        return header.elements > 0
    if stamp != _stamp(index / _COPY) and _read_map(index / _MAP) is None:
        return True
    return _known_by(index / _MAP) != header.elements


def read_vectors(index: Path) -> dict[str, NDArray[np.float32]]:
    """The vectors, by row id, that the files of an index hold for certain."""
    header, known = _read_header(index), _read_map(index / _MAP) or _read_map(index / _COPY)
    if header is None or known is None or not (index / _DATA).exists():
        return {}
    data = np.fromfile(index / _DATA, np.uint8)
    blocks = data[: len(data) // header.size * header.size].reshape(-1, header.size)[: known["total_elements_added"]]
    labels = blocks[:, header.label : header.label + 8].copy().view("<u8")[:, 0].tolist()
    vectors = blocks[:, header.vector : header.label].copy().view("<f4")
    places = {label: place for place, label in enumerate(labels)}
    return {key: vectors[places[label]] for key, label in known["id_to_label"].items() if label in places}


class _Header(NamedTuple):
    """How many vectors there are, and of the block of each the size and where in it its label and vector begin."""

    elements: int
    size: int
    label: int
    vector: int


def _read_header(index: Path) -> _Header | None:
    try:
        _, _, _, *fields = _LAYOUT.unpack((index / "header.bin").read_bytes()[: _LAYOUT.size])
    except (FileNotFoundError, struct.error):
        return None
    header = _Header(*fields)
    return header if 0 < header.vector < header.label <= header.size - 8 else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _known_by(path: Path) -> int | None:
    """How many vectors a map knows of, which it says at its beginning."""
    with path.open("rb") as file, suppress(ValueError):
        values = (value for _, value, _ in pickletools.genops(file) if value is not None)
        for value in values:
            if value == "total_elements_added":
                return next(values, None)
    return None


class _Plain(pickle.Unpickler):
    """Reads dictionaries, numbers and strings, and refuses anything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value.")


def _read_map(path: Path) -> dict[str, Any] | None:
    """A map; None where it is not whole, or not there."""
    try:
        with path.open("rb") as file:
            found = _Plain(file).load()
        return {"total_elements_added": found["total_elements_added"], "id_to_label": found["id_to_label"]}
    except (FileNotFoundError, EOFError, pickle.UnpicklingError, ValueError, LookupError, TypeError):
        return None
