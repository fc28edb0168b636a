"""What is known of one person: a value, a confidence and a support for each dimension."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from persona_align.preferences.alignx import ALIGNX
from persona_align.preferences.space import Dimension, PreferenceSpace

__all__ = ["PreferenceVector", "Reading"]

Floats = NDArray[np.float64]
HIGH, LOW = 0.6, 0.4
"""AlignX's thresholds on the 0..1 scale: at or beyond them a direction is read as a pole."""


class Reading(NamedTuple):
    """One dimension of a vector."""

    dimension: Dimension
    value: float
    confidence: float
    support: float

    @property
    def key(self) -> str:
        """The dimension's key."""
        return self.dimension.key

    @property
    def pole(self) -> str:
        """The name of the pole that the value leans to."""
        return self.dimension.pole(self.value)

    @property
    def weight(self) -> float:
        """Value times confidence: what the reading is worth."""
        return self.value * self.confidence

    def __repr__(self) -> str:
        return (
            f"Reading({self.key!r}: {self.pole}, value {self.value:+.2f}, "
            f"confidence {self.confidence:.2f}, support {self.support:.2f})"
        )


def _frozen(value: Any) -> Floats:
    array = np.array(value, dtype=np.float64)
    array.setflags(write=False)
    return array


def _space(value: Any) -> Any:
    return ALIGNX if isinstance(value, str) and value == ALIGNX.name else value


def _space_json(space: PreferenceSpace) -> Any:
    return ALIGNX.name if space is ALIGNX or space == ALIGNX else space.model_dump(mode="json")


Array = Annotated[Any, BeforeValidator(_frozen), PlainSerializer(lambda array: array.tolist(), return_type=list)]


class PreferenceVector(BaseModel):
    """A person's preferences: one entry per dimension of a space.

    Args:
        space: The space that the entries belong to.
        values: Shape [dimensions], in [-1, 1]; 0.0 where confidence is 0. Positive means the high pole.
        confidence: Shape [dimensions], in [0, 1]; 0 means that nothing is known.
        support: Shape [dimensions]; how many independent pieces of evidence stand behind an entry.

    Raises:
        ValueError: A shape, a range or a NaN.

    Example:
        >>> vector = PreferenceVector.of({"humor": 0.8})
        >>> vector["humor"].value, vector["play"].confidence
        (0.8, 0.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    space: Annotated[PreferenceSpace, BeforeValidator(_space), PlainSerializer(_space_json)] = ALIGNX
    values: Array
    confidence: Array
    support: Array

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, low, high in (("values", -1.0, 1.0), ("confidence", 0.0, 1.0), ("support", 0.0, np.inf)):
            array = getattr(self, name)
            if array.shape != (len(self.space),):
                msg = (
                    f"{name} must have one entry for each of the {len(self.space)} dimensions, not shape {array.shape}"
                )
                raise ValueError(msg)
            if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
                msg = f"{name} must be finite and lie in [{low:g}, {high:g}]"
                raise ValueError(msg)
        if np.any(self.values[self.confidence == 0] != 0):
            msg = "values must be 0.0 where confidence is 0"
            raise ValueError(msg)
        return self

    @classmethod
    def unknown(cls, space: PreferenceSpace = ALIGNX) -> Self:
        """The vector of a person of whom nothing is known."""
        zeros = np.zeros(len(space))
        return cls(space=space, values=zeros, confidence=zeros, support=zeros)

    @classmethod
    def of(cls, values: Mapping[str, float], *, confidence: float = 1.0, space: PreferenceSpace = ALIGNX) -> Self:
        """A vector that states some dimensions and abstains on the rest.

        Example:
            >>> PreferenceVector.of({"conciseness": 1.0}).top(1)[0].pole
            'Concise communication style'
        """
        arrays = np.zeros((3, len(space)))
        for key, value in values.items():
            arrays[:, space.index(key)] = value, confidence, 1.0
        return cls(space=space, values=arrays[0], confidence=arrays[1], support=arrays[2])

    def __getitem__(self, key: str) -> Reading:
        return self.reading(self.space.index(key))

    def reading(self, index: int) -> Reading:
        """The entry at a position."""
        return Reading(
            self.space.dimensions[index],
            float(self.values[index]),
            float(self.confidence[index]),
            float(self.support[index]),
        )

    def __len__(self) -> int:
        return len(self.space)

    def __neg__(self) -> Self:
        return self.model_copy(update={"values": _frozen(-self.values + 0.0)})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PreferenceVector):
            return NotImplemented
        return self.space == other.space and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("values", "confidence", "support")
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PreferenceVector({self.describe()})"

    __str__ = __repr__

    def top(self, k: int = 5) -> list[Reading]:
        """The `k` readings worth most, by |value| times confidence; none that says nothing."""
        weight = np.abs(self.values) * self.confidence
        order = np.lexsort((np.arange(len(weight)), -weight))[: max(k, 0)]
        return [self.reading(int(index)) for index in order if weight[index] > 0]

    def confident(self) -> list[Reading]:
        """The readings at or over the space's confidence floor, strongest first."""
        return [reading for reading in self.top(len(self)) if reading.confidence >= self.space.floor]

    def directions(self) -> Floats:
        """AlignX's directions: 1 (high pole), 0 (low pole), 0.5 (no clear preference).

        Returns:
            Shape [dimensions]. A reading under the confidence floor is 0.5.

        Source: AlignX, section 3 (thresholds 0.6 and 0.4 on the 0..1 scale).
        """
        scaled = np.round((self.values + 1) / 2, 12)
        known = self.confidence >= max(self.space.floor, np.finfo(float).tiny)
        return np.where(known & (scaled >= HIGH), 1.0, np.where(known & (scaled <= LOW), 0.0, 0.5))

    def describe(self, k: int = 5) -> str:
        """The strongest confident readings as one line of prose.

        Example:
            >>> PreferenceVector.of({"humor": 0.9}).describe()
            'Likes humor (+0.90, confidence 1.00)'
        """
        parts = [f"{r.pole} ({r.value:+.2f}, confidence {r.confidence:.2f})" for r in self.confident()[:k]]
        return "; ".join(parts) or "Nothing is known yet."

    def plot(self, ax: Any = None, k: int = 12) -> Any:
        """The strongest `k` readings as bars; gives matplotlib's axes.

        Args:
            ax: Axes to draw into; None makes a figure.
            k: The most bars.

        Raises:
            MissingExtraError: Matplotlib is not installed.
        """
        from persona_align.preferences.plot import plot_vector

        return plot_vector(self, ax, k)

    def _repr_html_(self) -> str:
        """The vector as a notebook shows it."""
        from persona_align.preferences.html import vector_html

        return vector_html(self)
