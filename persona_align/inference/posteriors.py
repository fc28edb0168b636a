"""The posteriors of the users read last: folded once per revision, and onto the last one where records were added."""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from threading import Lock
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from persona_align.inference.posterior import Posterior, fold
from persona_align.preferences import PreferenceSpace
from persona_align.records import Record

__all__ = ["Posteriors"]

MOST_USERS = 1024
MOST_RECORDS = 50_000
"""Of all users together: the records whose numbers are held so that a posterior can be added to."""


class Scored(Protocol):
    """A record with the numbers that the scorer gave for it; it never changes."""

    @property
    def record(self) -> Record: ...

    @property
    def numbers(self) -> Mapping[str, NDArray[Any]]: ...


class _Kept(NamedTuple):
    revision: Hashable
    entries: tuple[Scored, ...]
    posterior: Posterior


class Posteriors:
    """A bounded cache of posteriors. Safe to use from several threads.

    Args:
        space: The dimensions.
        enabled: Sensitive dimensions that are switched on, by key or family.
        disabled: Dimensions that are switched off, by key or family.
    """

    def __init__(self, space: PreferenceSpace, enabled: Collection[str] = (), disabled: Collection[str] = ()) -> None:
        self._space = space
        self._enabled = enabled
        self._disabled = disabled
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._records = 0
        self._drops = 0
        self._lock = Lock()

    def get(self, user_id: str, revision: Hashable) -> Posterior | None:
        """The posterior of a user at a revision, if it is here."""
        with self._lock:
            kept = self._kept.get(user_id)
            if kept is None or kept.revision != revision:
                return None
            self._kept.move_to_end(user_id)
            return kept.posterior

    def known(self, user_id: str, entries: tuple[Scored, ...]) -> int:
        """How many of a user's entries, from the first on, are the ones that were folded last; 0 where one differs."""
        kept = self._folded(user_id, entries)
        return len(kept.entries) if kept else 0

    def _folded(self, user_id: str, entries: tuple[Scored, ...]) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(user_id)
        # Tuples compare what they hold by identity first, so this takes microseconds.
        return kept if kept and entries[: len(kept.entries)] == kept.entries else None

    def fold(self, user_id: str, revision: Hashable, entries: tuple[Scored, ...]) -> Posterior:
        """Fold a user's entries, in time order, and keep the posterior for this revision."""
        drops = self._drops
        kept = self._folded(user_id, entries)
        new = [(entry.record, entry.numbers) for entry in entries[len(kept.entries) if kept else 0 :]]
        onto = kept.posterior if kept else None
        posterior = fold(new, self._space, self._enabled, self._disabled, onto=onto)
        with self._lock:
            self._remove(user_id)
            if drops != self._drops:
                return posterior  # of somebody who may have been forgotten meanwhile
            self._kept[user_id] = _Kept(revision, entries, posterior)
            self._records += len(entries)
            while len(self._kept) > 1 and (len(self._kept) > MOST_USERS or self._records > MOST_RECORDS):
                self._records -= len(self._kept.popitem(last=False)[1].entries)
        return posterior

    def drop(self, user_id: str) -> None:
        """Forget a user; what is being folded meanwhile is not kept either."""
        with self._lock:
            self._drops += 1
            self._remove(user_id)

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._drops += 1
            self._kept.clear()
            self._records = 0

    def _remove(self, user_id: str) -> None:
        kept = self._kept.pop(user_id, None)
        self._records -= len(kept.entries) if kept else 0
