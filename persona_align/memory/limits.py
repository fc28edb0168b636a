"""Which of a user's entries retention and the cap let be shown, and which only count."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from persona_align.memory.entry import Entry
from persona_align.records import Correction, Record, Summary

__all__ = ["View", "begins", "view_of"]


class View(NamedTuple):
    """Positions of entries, each in time order.

    Args:
        expired: Older than retention allows: neither shown nor counted.
        earlier: Beyond the cap, and the summaries of what was dropped before: counted and not shown.
        shown: The others.
    """

    expired: Sequence[int]
    earlier: Sequence[int]
    shown: Sequence[int]


def begins(record: Record) -> datetime | None:
    """The time of a record, or of the oldest one that a summary stands for."""
    return record.since if isinstance(record, Summary) else record.at


def view_of(entries: Sequence[Entry], *, cutoff: float, most: int | None) -> View:
    """The view of some entries, which are in time order.

    What was set by hand, and holds, is never beyond the cap.

    Args:
        entries: Of one user.
        cutoff: What began before this time, in seconds since 1970, has expired.
        most: The cap.
    """
    expired: list[int] = []
    earlier: list[int] = []
    records: list[int] = []
    for i, entry in enumerate(entries):
        begin = begins(entry.record)
        if begin is not None and begin.timestamp() < cutoff:
            expired.append(i)
        elif isinstance(entry.record, Summary):
            earlier.append(i)
        else:
            records.append(i)
    if most is None or len(records) <= most:
        return View(expired, earlier, records)
    standing: dict[str, int] = {}
    for i in records:
        record = entries[i].record
        if isinstance(record, Correction):
            standing[record.dimension] = i
    surplus, shown = records[:-most], records[-most:]
    held = {i for i in surplus if i in standing.values()}
    return View(expired, [*earlier, *(i for i in surplus if i not in held)], [*sorted(held), *shown])
