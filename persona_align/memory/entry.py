"""One record as memory keeps it: beside the record, its embedding and the numbers that scoring gave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import InvalidRecordError
from persona_align.records import Record

__all__ = ["Entry"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A record with what one encoder pass and one scoring said about it.

    Args:
        record: The record. Memory dates an undated one when it first sees it.
        embedding: Shape [d], unit length: what the text is about; zeros for a record without text.
        numbers: Small named arrays of the scorer, kept and returned bit for bit; memory never looks inside.
        version: The version of the scorer that made `numbers`.

    Raises:
        InvalidRecordError: The embedding is not one finite vector, or an array holds objects.

    Example:
        >>> from persona_align.records import Turn
        >>> Entry(record=Turn(role="user", text="Hello"), embedding=np.ones(3, np.float32) / 3**0.5).embedding.dtype
        dtype('float32')
    """

    record: Record
    embedding: NDArray[np.float32]
    numbers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        embedding = np.asarray(self.embedding)
        if embedding.ndim != 1 or not np.isfinite(embedding).all():
            raise InvalidRecordError(
                f"The embedding of record {self.record.id!r} is not one finite vector: its shape is {embedding.shape}.",
                "Give the content embedding of one text, of shape [d].",
            )
        object.__setattr__(self, "embedding", frozen(embedding, np.float32))
        numbers = {name: frozen(array) for name, array in self.numbers.items()}
        for name, array in numbers.items():
            if array.dtype.kind not in "biufc":
                raise InvalidRecordError(
                    f"The array {name!r} of record {self.record.id!r} holds {array.dtype} and not numbers.",
                    "Keep arrays of numbers only.",
                )
        object.__setattr__(self, "numbers", MappingProxyType(numbers))


def frozen(array: Any, dtype: Any = None) -> NDArray[Any]:
    """An array that cannot be written to: itself if it owns nobody else's bytes, else a copy."""
    given = np.asarray(array, dtype)
    if given.flags.writeable or not given.flags.c_contiguous:
        given = np.array(given, order="C")
        given.setflags(write=False)
    return given
