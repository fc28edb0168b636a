"""All that a user's records claim about one dimension, in time order, and what it comes to."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from persona_align.inference.certainty import certainty
from persona_align.inference.changes import segments
from persona_align.inference.evidence import COLUMNS
from persona_align.inference.repeats import repeated

__all__ = ["Claims", "Reading", "Span"]

Floats = NDArray[np.float64]

HALF_LIFE_DAYS = 365.0
"""After so long a claim counts half."""
PRIOR = 0.25
"""Weight of the belief, held of everybody, that there is no preference."""


class Span(NamedTuple):
    """A stretch of claims, from `start` up to before `stop`, through which one value held."""

    start: int
    stop: int
    value: float


class Reading(NamedTuple):
    """What the claims come to: value, confidence, support, net evidence; the signed weight of each; its stretches."""

    value: float
    confidence: float
    support: float
    net: float
    weights: Floats
    spans: list[Span]


@dataclass(frozen=True, eq=False)
class Claims:
    """The claims about one dimension.

    Args:
        rows: Shape [n, columns]: rows of `evidence` tables, in time order.
        owners: Shape [n]: the position of the record that each is from.
        ages: Shape [n]: their ages, in days by the calendar.
        repeated: Shape [n]: how far each is said again by a later one.
    """

    rows: NDArray[np.float32]
    owners: NDArray[np.int64]
    ages: Floats
    repeated: Floats

    @classmethod
    def of(cls, rows: NDArray[np.float32], owners: NDArray[np.int64], record_ages: Floats) -> Self:
        """Claims of records, given the ages of all records."""
        return cls(rows, owners, record_ages[owners], _repeated(rows))

    @cached_property
    def reading(self) -> Reading:
        """What they come to."""
        value, weight = self.rows[:, 1].astype(np.float64), self.rows[:, 2].astype(np.float64)
        lasting = (1.0 - self.repeated) * 0.5 ** (self.ages / HALF_LIFE_DAYS)
        fresh = weight * lasting
        # A claim that is less surely about the dimension makes it less certain; in the mean it counts by the root,
        # since many faint claims about a broad trait say more of it than the one that names it.
        voice = np.sqrt(weight * self.many) * lasting
        cuts = self._cuts(value, fresh)
        spans = [
            Span(start, stop, _mean(value[start:stop], voice[start:stop]))
            for start, stop in zip(cuts, [*cuts[1:], len(value)], strict=True)
        ]
        fresh[: cuts[-1]] = 0.0
        support = float(fresh.sum())
        weights = fresh * value
        pull = float(weights.sum())
        net = pull**2 / max(float(weights @ value), 1e-12)  # evidence that is left after contradictions
        confidence = float(certainty(net)) if support > 0 else 0.0
        return Reading(min(max(spans[-1].value, -1.0), 1.0), confidence, support, net, weights, spans)

    @cached_property
    def _summed(self) -> NDArray[np.bool_]:
        """Which rows stand for several claims."""
        return self.rows[:, 3] < -1.0

    @property
    def many(self) -> Floats:
        """Shape [n]: how many claims each row stands for."""
        return np.where(self._summed, -1.0 - self.rows[:, 3].astype(np.float64), 1.0)

    def _cuts(self, value: Floats, fresh: Floats) -> list[int]:
        """Where segments begin: never within a summary, which is one claim here."""
        said = self.rows[:, 4] > 0.5
        if not self._summed.any():
            return segments(value, fresh, said)
        within = self._summed[1:] & self._summed[:-1] & (self.owners[1:] == self.owners[:-1])
        starts = np.flatnonzero(np.concatenate([[True], ~within]))
        mass, pull = np.add.reduceat(fresh, starts), np.add.reduceat(fresh * value, starts)
        mean = np.divide(pull, mass, out=np.zeros_like(pull), where=mass > 0)
        return [int(starts[cut]) for cut in segments(mean, mass, np.logical_or.reduceat(said, starts))]

    def aged(self, record_ages: Floats) -> Self:
        """The same claims when the records have these ages."""
        return replace(self, ages=record_ages[self.owners])

    def joined(self, rows: NDArray[np.float32], owners: NDArray[np.int64], record_ages: Floats) -> Self:
        """These claims and later ones of other records."""
        rows, owners = np.concatenate([self.rows, rows]), np.concatenate([self.owners, owners])
        return type(self)(rows, owners, record_ages[owners], _repeated(rows, self.repeated))


def _repeated(rows: NDArray[np.float32], before: Floats | None = None) -> Floats:
    return repeated(rows[:, len(COLUMNS) :], np.sign(rows[:, 1].astype(np.float64)), before)


def _mean(value: Floats, weight: Floats) -> float:
    total = float(weight.sum())
    return float(weight @ value) / (total + PRIOR * total / (total + 1.0)) if total > 0 else 0.0
