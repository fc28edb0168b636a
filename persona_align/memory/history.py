"""What is kept about one user, in order, and a bounded cache of it."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_align.memory.entry import Entry
from persona_align.memory.limits import View, begins, view_of
from persona_align.records import Summary

__all__ = ["History", "HistoryCache"]

CACHE_BYTES = 256 << 20
"""How much of the histories that were read last is kept in process."""


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """A user's entries in the order of their time, and of arrival within one time.

    Args:
        entries: The entries.
        embeddings: Shape [n, d], read only: their embeddings, stacked.
        revision: Changes with every write to the user.
        earlier: Entries beyond the cap, and summaries of those that were dropped: they count in the vector only.
    """

    entries: tuple[Entry, ...]
    embeddings: NDArray[np.float32]
    revision: Hashable
    earlier: tuple[Entry, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)


class Timeline:
    """One user's entries, sorted, to which later ones are added cheaply."""

    def __init__(self, dimension: int, arrived: Iterable[tuple[int, Entry]] = ()) -> None:
        self._keys: list[tuple[float, int, str]] = []
        self._entries: list[Entry] = []
        self._known: set[str] = set()
        self._matrix = np.empty((0, dimension), np.float32)
        self._told: tuple[Hashable, View | None, History] | None = None
        self._viewed: tuple[int, int | None, float, View] | None = None
        self._summaries = 0
        self.bytes = 0
        self.last_seq = 0
        self.add(arrived)

    def add(self, arrived: Iterable[tuple[int, Entry]]) -> None:
        """Add entries with their arrival numbers; those whose id is known are ignored."""
        new = []
        for seq, entry in arrived:
            if entry.record.id not in self._known:
                self._known.add(entry.record.id)
                self._summaries += isinstance(entry.record, Summary)
                at = entry.record.at
                self.last_seq = max(self.last_seq, seq)
                new.append(((at.timestamp() if at else 0.0, seq, entry.record.id), entry))
        if not new:
            return
        new.sort(key=lambda item: item[0])
        late = bool(self._keys) and new[0][0] < self._keys[-1]
        start = len(self._entries)
        self._keys.extend(key for key, _ in new)
        self._entries.extend(entry for _, entry in new)
        if late:
            order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
            self._keys = [self._keys[i] for i in order]
            self._entries = [self._entries[i] for i in order]
            start = 0
        self._stack(start)
        self.bytes += sum(_size(entry) for _, entry in new)

    def view(self, cutoff: float, most: int | None) -> View | None:
        """What retention, from a time on in seconds since 1970, and the cap let be shown; None for everything."""
        n = len(self._entries)
        if self.first_time >= cutoff and not self._summaries and (most is None or n <= most):
            return None
        if self._viewed is None or self._viewed[:2] != (n, most) or cutoff > self._viewed[2]:
            view = view_of(self._entries, cutoff=cutoff, most=most)
            kept = [begins(self._entries[i].record) for i in (*view.earlier, *view.shown)]
            until = min((begin.timestamp() for begin in kept if begin is not None), default=float("inf"))
            self._viewed = n, most, until, view
        return self._viewed[3]

    def history(self, revision: Hashable, view: View | None = None) -> History:
        """What it holds now, or a view of it; the same object until something changes."""
        told, n = self._told, len(self._entries)
        shown = range(n) if view is None else view.shown
        if told is not None and told[0] == revision and told[1] is view and len(told[2]) == len(shown):
            return told[2]
        start = n - len(shown)
        newest = not shown or shown[0] == start  # without a gap
        embeddings = self._matrix[start:n] if newest else self._matrix[np.asarray(shown)]
        embeddings.setflags(write=False)
        history = History(
            entries=tuple(self._entries[i] for i in shown),
            embeddings=embeddings,
            revision=revision,
            earlier=tuple(self._entries[i] for i in view.earlier) if view else (),
        )
        self._told = (revision, view, history)
        return history

    def _stack(self, start: int) -> None:
        n, d = len(self._entries), self._matrix.shape[1]
        if start == 0 or n > len(self._matrix):  # never written below what a history was given
            grown = np.zeros((n + n // 4 if start else n, d), np.float32)
            grown[:start] = self._matrix[:start]
            self._matrix = grown
        for i in range(start, n):
            self._matrix[i] = self._entries[i].embedding

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._known

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in order."""
        return tuple(self._entries)

    @property
    def first_time(self) -> float:
        """The time of the oldest entry, in seconds since 1970."""
        return self._keys[0][0] if self._keys else float("inf")


class HistoryCache:
    """The timelines that were used last, each with the revision it is of. Safe to use from several threads.

    Args:
        most_bytes: About how much it keeps.
    """

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._held = 0
        self._timelines: OrderedDict[str, tuple[Hashable, Timeline, int]] = OrderedDict()
        self.lock = threading.RLock()

    def get(self, user_id: str, revision: Hashable) -> Timeline | None:
        """A user's timeline, if it is of that revision."""
        with self.lock:
            held = self._timelines.get(user_id)
            if held is None or held[0] != revision:
                return None
            self._timelines.move_to_end(user_id)
            return held[1]

    def length(self, user_id: str) -> int:
        """How many entries of a user are held here."""
        with self.lock:
            held = self._timelines.get(user_id)
            return 0 if held is None else len(held[1])

    def put(self, user_id: str, revision: Hashable, timeline: Timeline) -> None:
        """Keep a timeline; the ones used longest ago make room."""
        with self.lock:
            self.drop(user_id)
            self._timelines[user_id] = (revision, timeline, timeline.bytes)
            self._held += timeline.bytes
            while self._held > self._most and len(self._timelines) > 1:
                _, (_, _, size) = self._timelines.popitem(last=False)
                self._held -= size

    def drop(self, user_id: str) -> None:
        """Forget a user's timeline."""
        with self.lock:
            held = self._timelines.pop(user_id, None)
            if held is not None:
                self._held -= held[2]

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self._timelines.clear()
            self._held = 0


def _size(entry: Entry) -> int:
    text = sum(len(text) for text in entry.record.texts)
    return 2500 + 2 * text + 2 * entry.embedding.nbytes + sum(200 + array.nbytes for array in entry.numbers.values())
