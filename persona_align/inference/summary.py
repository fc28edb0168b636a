"""What is left of records that are dropped: for each dimension a few rows that weigh as much as their claims did."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.inference.claims import HALF_LIFE_DAYS, Claims
from persona_align.inference.evidence import COLUMNS
from persona_align.inference.posterior import Posterior
from persona_align.records import Record, Summary

__all__ = ["summarise"]

Floats = NDArray[np.float64]

MOST = 8
"""Rows of one dimension in a summary: claims about the same go together, and beyond it the most alike."""
ALIKE = 0.75
"""Sketches with this cosine are about the same."""
STRONG = 0.5
"""Claims beyond it and below it are not put together: so the spread of the values stays nearly what it was."""
LEAST = 1e-4


def summarise(records: Sequence[Record], posterior: Posterior) -> tuple[Summary, dict[str, NDArray[Any]]]:
    """The summary of the first records of a user and the numbers to keep beside it.

    It holds what counts now: no claim that a later one repeats, or that a change of mind has put out of force. Values,
    weights and the strength of means are kept; of the spread within a row, and of dates, the finer part is lost.

    Args:
        records: The records to be dropped, earlier summaries among them.
        posterior: Folded from them and from the records that stay, in this order.
    """
    at = max((record.at for record in records if record.at is not None), default=None)
    begins = [record.since if isinstance(record, Summary) else record.at for record in records]
    tables = {
        posterior.vector.space.keys[dimension]: table
        for dimension, claims in sorted(posterior.claims.items())
        if len(table := _rows(claims, len(records), posterior.age(at)))
    }
    for number, table in enumerate(tables.values()):
        table[:, 0] = number
    summary = Summary(
        id=hashlib.sha256("/".join(record.id for record in records).encode()).hexdigest()[:32],
        at=at,
        since=min((begin for begin in begins if begin is not None), default=None),
        records=sum(record.records if isinstance(record, Summary) else 1 for record in records),
        dimensions=tuple(tables),
    )
    width = max((table.shape[1] for table in tables.values()), default=len(COLUMNS))
    return summary, {"summed": np.concatenate([*tables.values(), np.zeros((0, width), np.float32)])}


def _rows(claims: Claims, count: int, age: float) -> NDArray[np.float32]:
    """Shape [at most 2 * MOST, columns]: what the claims of the first `count` records weigh, at an age in days."""
    lasting = (1.0 - claims.repeated) * 0.5 ** ((claims.ages - age) / HALF_LIFE_DAYS)
    weight = claims.rows[:, 2].astype(np.float64)
    mass, voice = weight * lasting, np.sqrt(weight * claims.many) * lasting
    first = claims.reading.spans[-1].start
    chosen = [i for i in range(first, len(mass)) if claims.owners[i] < count and mass[i] > LEAST]
    groups: dict[tuple[bool, bool], list[list[int]]] = {}
    for i in sorted(chosen, key=lambda i: -mass[i]):
        value = float(claims.rows[i, 1])
        _place(i, groups.setdefault((value > 0, abs(value) > STRONG), []), claims.rows[:, len(COLUMNS) :])
    return _summed(claims.rows, [group for each in groups.values() for group in each], mass, voice)


def _place(i: int, groups: list[list[int]], sketches: NDArray[np.float32]) -> None:
    """Put a row to the rows whose first one is about the same."""
    likeness = [
        float(sketches[group[0]] @ sketches[i]) if sketches[i].any() else float(not sketches[group[0]].any())
        for group in groups
    ]
    best = int(np.argmax(likeness)) if groups else -1
    if groups and (likeness[best] >= ALIKE or len(groups) >= MOST // 2):
        groups[best].append(i)
    else:
        groups.append([i])


def _summed(
    rows: NDArray[np.float32], groups: Iterable[Sequence[int]], mass: Floats, voice: Floats
) -> NDArray[np.float32]:
    found = []
    for group in groups:
        row = rows[group[0]].astype(np.float64)
        total = mass[group].sum()
        row[1] = mass[group] @ rows[group, 1] / total
        row[2] = total
        row[3] = -1.0 - voice[group].sum() ** 2 / total
        row[4] = 0.0
        found.append(row)
    return np.array(found, dtype=np.float32).reshape(len(found), rows.shape[1])
