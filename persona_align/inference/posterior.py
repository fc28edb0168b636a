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

from persona_align.inference.claims import Claims
from persona_align.preferences import PreferenceSpace, PreferenceVector
from persona_align.records import Correction, Record

__all__ = ["Earlier", "Posterior", "fold"]

Floats = NDArray[np.float64]
Item = tuple[Record, Mapping[str, NDArray[Any]]]

DAY = 86_400.0


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
        claims: By the position of the dimension, what is claimed about it.
    """

    vector: PreferenceVector
    _ids: tuple[str, ...]
    _times: Floats
    _days: Floats
    claims: Mapping[int, Claims]
    _locks: Mapping[str, tuple[float, int]]

    def contributions(self, key: str) -> list[tuple[str, float]]:
        """The records that moved a dimension, in time order, with signed weights: positive towards the high pole."""
        claims = self._read(key)
        if key in self._locks and self.vector[key].confidence:
            value, row = self._locks[key]
            return [(self._ids[row], value)] if value else []
        total: dict[str, float] = {}
        if claims is not None:
            for row, weight in zip(claims.owners, claims.reading.weights, strict=True):
                total[self._ids[row]] = total.get(self._ids[row], 0.0) + float(weight)
        return [(record_id, weight) for record_id, weight in total.items() if weight]

    def history(self, key: str) -> tuple[Earlier, ...]:
        """The values that a dimension had, with their dates, the current one last."""
        claims = self._read(key)
        if claims is None:
            return ()
        found = []
        when = self._times[claims.owners]
        for start, stop, value in claims.reading.spans:
            dated = when[start:stop][~np.isnan(when[start:stop])]
            since, until = (_at(float(dated.min())), _at(float(dated.max()))) if len(dated) else (None, None)
            found.append(Earlier(value, since, until, current=stop == len(when)))
        return tuple(found)

    def age(self, moment: datetime | None) -> float:
        """How many days, by the calendar (UTC), a time lies before the newest record; 0 where either is unknown."""
        newest = np.fmax.reduce(self._days, initial=np.nan)
        return 0.0 if moment is None or np.isnan(newest) else float(newest - moment.timestamp() // DAY)

    def _read(self, key: str) -> Claims | None:
        return self.claims.get(self.vector.space.index(key))


def fold(
    items: Sequence[Item],
    space: PreferenceSpace,
    enabled: Collection[str] = (),
    disabled: Collection[str] = (),
    *,
    onto: Posterior | None = None,
) -> Posterior:
    """The posterior of one user.

    Args:
        items: Records in time order, each with the numbers that the scorer gave for this space.
        space: The dimensions.
        enabled: Sensitive dimensions that are switched on, by key or family.
        disabled: Dimensions that are switched off, by key or family.
        onto: The posterior, folded with the same other arguments, of the records before `items`, which are then only
            the later ones. The result is bit for bit that of folding all of them, and takes a fraction of the time.

    Example:
        >>> from persona_align.preferences import ALIGNX
        >>> lock = Correction(dimension="humor", action="lock", value=0.8)
        >>> before = fold([(lock, {})], ALIGNX)
        >>> before.vector["humor"].value
        0.8
        >>> fold([(Correction(dimension="humor", action="release"), {})], ALIGNX, onto=before).vector["humor"].value
        0.0
    """
    before = onto or Posterior(PreferenceVector.unknown(space), (), np.zeros(0), np.zeros(0), {}, {})
    known = len(before._ids)
    ids = (*before._ids, *[record.id for record, _ in items])
    new = np.array([record.at.timestamp() if record.at else np.nan for record, _ in items])
    times, days = np.concatenate([before._times, new]), np.concatenate([before._days, new // DAY])
    # In days by the calendar, so that what was read of earlier claims holds until a record of another day comes.
    newest, last = (np.fmax.reduce(each, initial=np.nan) for each in (days, before._days))
    ages = np.nan_to_num(newest - days)
    allowed = _allowed(space, enabled, disabled)
    claims = dict(before.claims)
    if newest != last and not np.isnan(newest):
        claims = {dimension: each.aged(ages) for dimension, each in claims.items()}
    for dimension, rows, owners in _new(items, known):
        if dimension < len(space) and allowed[dimension]:
            earlier = before.claims.get(dimension)
            claims[dimension] = earlier.joined(rows, owners, ages) if earlier else Claims.of(rows, owners, ages)
    arrays = np.zeros((3, len(space)))
    for dimension, each in claims.items():
        arrays[:, dimension] = each.reading[:3]
    locks = _locks(items, known, before._locks)
    for key, (value, _) in locks.items():
        if key in space and allowed[space.index(key)]:
            arrays[:, space.index(key)] = value, 1.0, max(1.0, arrays[2, space.index(key)])
    arrays[0] = np.where(arrays[1] > 0, arrays[0], 0.0)
    vector = PreferenceVector(space=space, values=arrays[0], confidence=arrays[1], support=arrays[2])
    return Posterior(vector, ids, times, days, claims, locks)


def _allowed(space: PreferenceSpace, enabled: Collection[str], disabled: Collection[str]) -> NDArray[np.bool_]:
    on, off = space.select(enabled), space.select(disabled)
    return np.array([(d.key in on or not d.sensitive) and d.key not in off for d in space])


def _new(items: Sequence[Item], known: int) -> list[tuple[int, NDArray[np.float32], NDArray[np.int64]]]:
    """The claims of the records by dimension: its rows in time order and the positions of their records."""
    tables = [numbers.get("evidence") for _, numbers in items]
    found = [(known + i, table) for i, table in enumerate(tables) if table is not None and len(table)]
    if not found:
        return []
    rows = np.concatenate([table for _, table in found])
    owners = np.repeat(np.array([i for i, _ in found]), [len(table) for _, table in found])
    order = np.argsort(rows[:, 0], kind="stable")
    rows, owners = rows[order], owners[order]
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1.0))
    return [
        (int(rows[start, 0]), rows[start:stop], owners[start:stop])
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True)
    ]


def _at(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _locks(items: Sequence[Item], known: int, before: Mapping[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    locks = dict(before)
    for row, (record, _) in enumerate(items, start=known):
        if isinstance(record, Correction):
            if record.action == "lock" and record.value is not None:
                locks[record.dimension] = (record.value, row)
            elif record.action == "release":
                locks.pop(record.dimension, None)
    return locks
