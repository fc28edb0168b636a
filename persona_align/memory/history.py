"""What is kept about one user, in order, and a bounded cache of it."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_align.memory.entry import Entry

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
    """

    entries: tuple[Entry, ...]
    embeddings: NDArray[np.float32]
    revision: Hashable

    def __len__(self) -> int:
        return len(self.entries)


class Timeline:
    """One user's entries, sorted, to which later ones are added cheaply."""

    def __init__(self, dimension: int, arrived: Iterable[tuple[int, Entry]] = ()) -> None:
        self._keys: list[tuple[float, int, str]] = []
        self._entries: list[Entry] = []
        self._known: set[str] = set()
        self._matrix = np.empty((0, dimension), np.float32)
        self._told: tuple[tuple[Hashable, int], History] | None = None
        self.bytes = 0
        self.last_seq = 0
        self.add(arrived)

    def add(self, arrived: Iterable[tuple[int, Entry]]) -> None:
        """Add entries with their arrival numbers; those whose id is known are ignored."""
        new = []
        for seq, entry in arrived:
            if entry.record.id not in self._known:
                self._known.add(entry.record.id)
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

    def history(self, revision: Hashable, hidden: int = 0) -> History:
        """What it holds now, without the first few; the same object until something changes."""
        told = self._told
        if told is not None and told[0] == (revision, hidden) and len(told[1]) == len(self._entries) - hidden:
            return told[1]
        embeddings = self._matrix[hidden : len(self._entries)]
        embeddings.setflags(write=False)
        history = History(entries=tuple(self._entries[hidden:]), embeddings=embeddings, revision=revision)
        self._told = ((revision, hidden), history)
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

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in order."""
        return tuple(self._entries)

    @property
    def first_time(self) -> float:
        """The time of the oldest entry, in seconds since 1970."""
        return self._keys[0][0] if self._keys else float("inf")

    def before(self, timestamp: float) -> int:
        """How many entries are older than a time."""
        return sum(key[0] < timestamp for key in self._keys) if self.first_time < timestamp else 0


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
