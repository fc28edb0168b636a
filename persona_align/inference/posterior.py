"""A user's vector: a pure fold over what their records say, newest weighing most, with what stands behind it.

Of each dimension: claims that repeat a later one give their weight to it, weights halve with age (measured from the
user's newest record, never the clock), and where the newer claims contradict the older ones consistently enough, only
the newer ones count and the older value is kept with its dates. Locks set by hand always win.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.inference.changes import segments
from persona_align.inference.evidence import COLUMNS
from persona_align.inference.repeats import repeated
from persona_align.preferences import PreferenceSpace, PreferenceVector
from persona_align.records import Correction, Record

__all__ = ["Earlier", "Posterior", "fold"]

Floats = NDArray[np.float64]
Item = tuple[Record, Mapping[str, NDArray[Any]]]

HALF_LIFE_DAYS = 365.0
"""After so long a claim counts half."""
DAY = 86_400.0
PRIOR = 0.25
"""Weight of the belief, held of everybody, that there is no preference."""
CERTAINTY = (0.93, 1.2, 1.0)
"""Confidence as a function of net evidence: ceiling, rate and power. Chosen by hand, not calibrated: one clear claim of
full weight gives 0.65, two give 0.85, and nothing reaches certainty."""


class Earlier(NamedTuple):
    """A value that held once.

    Args:
        value: In [-1, 1].
        since: Time of the first record behind it; None where no record was dated.
        until: Time of the last one.
        current: Whether it still holds.
    """

    value: float
    since: datetime | None
    until: datetime | None
    current: bool


@dataclass(frozen=True, eq=False)
class Posterior:
    """A vector and what stands behind it.

    Args:
        vector: The preference vector.
    """

    vector: PreferenceVector
    _ids: tuple[str, ...]
    _moved: Mapping[int, tuple[NDArray[np.int64], Floats]]
    _history: Mapping[int, tuple[Earlier, ...]]

    def contributions(self, key: str) -> list[tuple[str, float]]:
        """The records that moved a dimension, in time order, with signed weights: positive towards the high pole."""
        rows, weights = self._moved.get(self.vector.space.index(key), (np.zeros(0, np.int64), np.zeros(0)))
        total: dict[str, float] = {}
        for row, weight in zip(rows, weights, strict=True):
            total[self._ids[row]] = total.get(self._ids[row], 0.0) + float(weight)
        return [(record_id, weight) for record_id, weight in total.items() if weight]

    def history(self, key: str) -> tuple[Earlier, ...]:
        """The values that a dimension had, with their dates, the current one last."""
        return self._history.get(self.vector.space.index(key), ())


def fold(
    items: Sequence[Item],
    space: PreferenceSpace,
    enabled: Collection[str] = (),
    disabled: Collection[str] = (),
) -> Posterior:
    """The posterior of one user.

    Args:
        items: Records in time order, each with the numbers that the scorer gave for this space.
        space: The dimensions.
        enabled: Sensitive dimensions that are switched on, by key or family.
        disabled: Dimensions that are switched off, by key or family.

    Example:
        >>> from persona_align.preferences import ALIGNX
        >>> lock = Correction(dimension="humor", action="lock", value=0.8)
        >>> fold([(lock, {})], ALIGNX).vector["humor"].value
        0.8
    """
    on, off = space.select(enabled), space.select(disabled)
    allowed = np.array([(d.key in on or not d.sensitive) and d.key not in off for d in space])
    rows, owners, ages, times = _gather(items)
    arrays = np.zeros((3, len(space)))
    moved: dict[int, tuple[NDArray[np.int64], Floats]] = {}
    history: dict[int, tuple[Earlier, ...]] = {}
    order = np.argsort(rows[:, 0], kind="stable")
    dimensions = rows[order, 0].astype(np.int64)
    edges = np.flatnonzero(np.diff(dimensions)) + 1
    for part in np.split(order, edges) if len(order) else ():
        dimension = int(rows[part[0], 0])
        if dimension < len(space) and allowed[dimension]:
            arrays[:, dimension], weights, spans = _dimension(rows[part], ages[part])
            moved[dimension] = (owners[part], weights)
            history[dimension] = _dated(spans, times, owners[part])
    for key, lock in _locks(items).items():
        if key in space and allowed[space.index(key)]:
            arrays[:, space.index(key)] = lock[0], 1.0, max(1.0, arrays[2, space.index(key)])
            moved[space.index(key)] = (np.array([lock[1]]), np.array([lock[0] or 0.0]))
    arrays[0] = np.where(arrays[1] > 0, arrays[0], 0.0)
    vector = PreferenceVector(space=space, values=arrays[0], confidence=arrays[1], support=arrays[2])
    return Posterior(vector, tuple(record.id for record, _ in items), moved, history)


def _gather(items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.int64], Floats, Floats]:
    """All evidence in one table, whose record each row is, its age in days, and the time of each record."""
    tables = [numbers.get("evidence") for _, numbers in items]
    found = {i: table for i, table in enumerate(tables) if table is not None and len(table)}
    owners = list(found)
    if not owners:
        return np.zeros((0, len(COLUMNS)), np.float32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    times = np.array([record.at.timestamp() if record.at else np.nan for record, _ in items])
    rows = np.concatenate([found[i] for i in owners])
    owner = np.repeat(np.array(owners, dtype=np.int64), [len(found[i]) for i in owners])
    newest = 0.0 if np.isnan(times).all() else float(np.nanmax(times))
    days = np.nan_to_num((newest - times) / DAY)
    return rows, owner, days[owner], times


def _dimension(
    rows: NDArray[np.float32], ages: Floats
) -> tuple[tuple[float, float, float], Floats, list[tuple[int, int, float]]]:
    """Value, confidence and support of one dimension; the signed weight of each row; its segments in time."""
    value, weight = rows[:, 1].astype(np.float64), rows[:, 2].astype(np.float64)
    lasting = 1.0 - repeated(rows[:, len(COLUMNS) :], np.sign(value))
    lasting *= 0.5 ** (np.maximum(ages, 0.0) / HALF_LIFE_DAYS)
    fresh = weight * lasting
    # A claim that is less surely about the dimension makes it less certain; in the mean it counts by the root, since
    # many faint claims about a broad trait say more of it than the one that names it.
    voice = np.sqrt(weight) * lasting
    cuts = segments(value, fresh, rows[:, 4] > 0.5)
    spans = []
    for start, stop in zip(cuts, [*cuts[1:], len(value)], strict=True):
        spans.append((start, stop, _mean(value[start:stop], voice[start:stop])))
    kept = fresh.copy()
    kept[: cuts[-1]] = 0.0
    support = float(kept.sum())
    pull = float(kept @ value)
    net = pull**2 / max(float(kept @ value**2) * support, 1e-12) * support  # evidence that is left after contradictions
    ceiling, rate, power = CERTAINTY
    confidence = ceiling * (1.0 - np.exp(-rate * net**power)) if support > 0 else 0.0
    result = (float(np.clip(spans[-1][2], -1, 1)), float(confidence), support)
    return result, kept * value, spans


def _mean(value: Floats, weight: Floats) -> float:
    total = float(weight.sum())
    return float(weight @ value) / (total + PRIOR * total / (total + 1.0)) if total > 0 else 0.0


def _dated(spans: list[tuple[int, int, float]], times: Floats, owners: NDArray[np.int64]) -> tuple[Earlier, ...]:
    found = []
    when = times[owners]
    for start, stop, value in spans:
        dated = when[start:stop][~np.isnan(when[start:stop])]
        since, until = (_at(float(dated.min())), _at(float(dated.max()))) if len(dated) else (None, None)
        found.append(Earlier(value, since, until, current=stop == len(owners)))
    return tuple(found)


def _at(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _locks(items: Sequence[Item]) -> dict[str, tuple[float, int]]:
    locks: dict[str, tuple[float, int]] = {}
    for row, (record, _) in enumerate(items):
        if isinstance(record, Correction):
            if record.action == "lock" and record.value is not None:
                locks[record.dimension] = (record.value, row)
            elif record.action == "release":
                locks.pop(record.dimension, None)
    return locks
