"""What can be preferred: named dimensions with two poles, built in or your own."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from persona_align.errors import UnknownDimensionError

__all__ = ["Dimension", "PreferenceSpace"]


class Dimension(BaseModel):
    """One preference with two poles; a high value means the high pole.

    Args:
        key: Short name, unique in its space.
        high: What a person at the high pole prefers, as it is put into prompts and tables.
        low: The same for the low pole.
        high_statements: First-person sentences of people at the high pole; they define the dimension.
        low_statements: The same for the low pole.
        family: The group that it belongs to.
        sensitive: Neither inferred nor used unless switched on by name.
        condition_on: Which poles may reach a prompt or a model: "both", only the "high" one, or "none".
        scope: "style" always applies; a "topic" is used only where the prompt concerns it.
        open_valued: Says that something is liked but not what: shown with its evidence, never steered.

    Example:
        >>> Dimension(
        ...     key="units",
        ...     high="Prefers metric units",
        ...     low="Prefers imperial units",
        ...     high_statements=["Give it to me in kilometres.", "I think in grams and litres."],
        ...     low_statements=["Give it to me in miles.", "I think in ounces and cups."],
        ... ).scope
        'style'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: Annotated[str, Field(min_length=1)]
    high: Annotated[str, Field(min_length=1)]
    low: Annotated[str, Field(min_length=1)]
    high_statements: Annotated[tuple[str, ...], Field(repr=False)] = ()
    low_statements: Annotated[tuple[str, ...], Field(repr=False)] = ()
    family: str = "own"
    sensitive: bool = False
    condition_on: Literal["both", "high", "none"] = "both"
    scope: Literal["style", "topic"] = "style"
    open_valued: bool = False

    @model_validator(mode="after")
    def _two_sentences_a_pole(self) -> Self:
        fewest = min(len(self.high_statements), len(self.low_statements))
        if not self.open_valued and fewest < 2:
            msg = f"dimension {self.key!r} needs at least two statements for each pole, or open_valued=True"
            raise ValueError(msg)
        if any(not text.strip() for text in (*self.high_statements, *self.low_statements)):
            msg = f"dimension {self.key!r} has an empty statement"
            raise ValueError(msg)
        return self

    def usable(self, value: float) -> bool:
        """Whether a reading of this value may shape a reply.

        Example:
            >>> honest = Dimension(key="h", high="Honest", low="Not", open_valued=True, condition_on="high")
            >>> honest.usable(0.5), honest.usable(-0.5)
            (True, False)
        """
        return self.condition_on == "both" or (self.condition_on == "high" and value > 0)

    def pole(self, value: float) -> str:
        """The name of the pole that a value leans to."""
        return self.high if value >= 0 else self.low


class PreferenceSpace(BaseModel):
    """An ordered set of dimensions.

    Args:
        dimensions: The dimensions; their order is the order of a vector's entries.
        name: A name for tables and messages.
        floor: The confidence under which a reading reaches neither prompt nor model.

    Example:
        >>> from persona_align.preferences import ALIGNX
        >>> len(ALIGNX), ALIGNX.subset(["humor", "play"]).keys
        (90, ('humor', 'play'))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dimensions: tuple[Dimension, ...]
    name: str = "own"
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.dimensions:
            msg = "a preference space needs at least one dimension"
            raise ValueError(msg)
        if len(self._positions) < len(self.dimensions):
            repeated = sorted({key for key in self.keys if self.keys.count(key) > 1})
            msg = f"dimension keys must be distinct; repeated: {', '.join(repeated)}"
            raise ValueError(msg)
        return self

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys, in order."""
        return tuple(dimension.key for dimension in self.dimensions)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: position for position, key in enumerate(self.keys)}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that inference from this space depends on."""
        canonical = json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.dimensions)

    def __iter__(self) -> Iterator[Dimension]:  # type: ignore[override]
        return iter(self.dimensions)

    def __contains__(self, key: object) -> bool:
        return key in self._positions

    def __getitem__(self, key: str) -> Dimension:
        return self.dimensions[self.index(key)]

    def index(self, key: str) -> int:
        """The position of a key.

        Raises:
            UnknownDimensionError: The space has no such dimension; the message names the nearest ones.
        """
        try:
            return self._positions[key]
        except KeyError:
            raise UnknownDimensionError(f"There is no dimension {key!r}.", _nearest(key, self.keys)) from None

    def select(self, names: Iterable[str]) -> frozenset[str]:
        """The keys that names of dimensions or whole families stand for.

        Raises:
            UnknownDimensionError: A name is neither.
        """
        families = {dimension.family for dimension in self.dimensions}
        chosen: set[str] = set()
        for name in names:
            if name in families:
                chosen.update(dimension.key for dimension in self.dimensions if dimension.family == name)
            else:
                chosen.add(self.dimensions[self.index(name)].key)
        return frozenset(chosen)

    def subset(self, keys: Sequence[str]) -> "PreferenceSpace":
        """A space of some of the dimensions, in the order given."""
        return PreferenceSpace(
            dimensions=tuple(self[key] for key in keys), name=f"{self.name}/subset", floor=self.floor
        )

    def extend(self, *dimensions: Dimension) -> "PreferenceSpace":
        """A space with more dimensions behind those of this one."""
        return PreferenceSpace(
            dimensions=(*self.dimensions, *dimensions), name=f"{self.name}/extended", floor=self.floor
        )


def _nearest(key: str, keys: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(str(key), keys, n=3, cutoff=0.5) or list(keys[:3])
    return f"Did you mean {', '.join(repr(name) for name in close)}? `space.keys` lists them all."
