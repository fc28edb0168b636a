"""Memory: append, read, and erase what users did, in a folder, on a Chroma server, or in private."""

import os
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from persona_align.errors import (
    IncompatibleStoreError,
    InvalidRecordError,
    MissingUserError,
    StoreUnavailableError,
)
from persona_align.memory.clock import Clock, moment
from persona_align.memory.commit import Lane
from persona_align.memory.embedded import Embedded, Submission
from persona_align.memory.entry import Entry
from persona_align.memory.erasure import Receipt, chosen_records, erase
from persona_align.memory.history import History, HistoryCache, Timeline
from persona_align.memory.limits import View
from persona_align.memory.opening import close_backend, open_backend
from persona_align.memory.recovery import Recovery
from persona_align.memory.rows import Row, entry_of, numbers_of, row_id, row_of, user_key
from persona_align.memory.server import Server
from persona_align.memory.shard import DamagedShardError
from persona_align.records import Record, Summary

__all__ = ["History", "Memory", "check_user"]

SUMMARIES = 8
"""With retention, a summary covers about this part of it, so that it can expire as its records would have."""
SLACK = 100
"""A user's surplus beyond the cap is erased when there are this many more than twice as many records."""
_MOST_REVISIONS = 100_000
_T = TypeVar("_T")


class Memory:
    """What users did, kept apart by user. Safe to use from several threads; made by `Memory.open`.

    Example:
        >>> from persona_align.records import Turn
        >>> with Memory.open(None, encoder="demo", dimension=2, space="demo") as memory:
        ...     entry = Entry(record=Turn(role="user", text="Hello"), embedding=[1.0, 0.0])
        ...     ids = memory.append("ada", [entry])
        ...     len(memory.history("ada")), len(memory.history("bob"))
        (1, 0)
    """

    def __init__(
        self,
        backend: Embedded | Server,
        *,
        dimension: int,
        clock: Clock,
        retention: timedelta | None,
        max_records: int | None,
        private: Path | None = None,
    ) -> None:
        self.backend = backend
        self.dimension = dimension
        self.retention = retention
        self.max_records = max_records
        self.recovered: list[Recovery] = backend.recovered if isinstance(backend, Embedded) else []
        """What became of shards that were found damaged."""
        self.summarise: Callable[[Sequence[Entry], Sequence[Entry]], Entry] | None = None
        """Makes the summary of entries that the cap drops, earlier summaries among them, given those that stay."""
        self._clock = clock
        self._lanes = [Lane(backend.write, lambda item: len(item.rows)) for _ in range(backend.lanes)]
        self._cache = HistoryCache()
        self._revisions: dict[str, int] = {}
        self._writes = 0
        self._floor = 0
        self._nonce = uuid.uuid4().hex[:12]
        self._process = os.getpid()
        self._closed = False
        self._finalizer = weakref.finalize(self, close_backend, backend, private, self._process)

    @classmethod
    def open(
        cls,
        path: str | Path | None,
        *,
        encoder: str,
        dimension: int,
        space: str,
        retention: timedelta | None = None,
        max_records: int | None = None,
    ) -> Self:
        """A memory in a folder, on a server, or private to this instance.

        Args:
            path: A folder; "http://host:port" of a Chroma server; or None: gone when it is closed.
            encoder: Fingerprint of the encoder that makes the embeddings.
            dimension: Their length d.
            space: Fingerprint of the preference space; noted, and another one later is fine.
            retention: Records that are older than this are not returned, and `sweep` erases them.
            max_records: At most so many records of a user are returned, the newest, beside what was set by hand and
                holds. The others are erased by `sweep`, and by `append` once there are more than twice as many; what
                `summarise` makes of them stays.

        Raises:
            IncompatibleStoreError: Made with another encoder or by a newer version, or not a memory.
            StoreUnavailableError: It cannot be reached or written, or another process holds the folder.
        """
        if (retention is not None and retention <= timedelta(0)) or (max_records is not None and max_records < 1):
            raise IncompatibleStoreError(
                f"Nothing could be kept with retention={retention} and max_records={max_records}.",
                "Give a positive duration and at least 1 record, or None.",
            )
        made_with = {"encoder": encoder, "dimension": dimension, "space": space}
        backend, clock, private = open_backend(path, made_with)
        return cls(
            backend,
            dimension=dimension,
            clock=clock,
            retention=retention,
            max_records=max_records,
            private=private,
        )

    def append(self, user_id: str, entries: Sequence[Entry]) -> list[str]:
        """Keep entries of a user; they are on disk when it returns.

        Args:
            user_id: Whose they are.
            entries: What to keep; all or, if it fails, none. One whose id is known is left as it was first seen.

        Returns:
            Their record ids, in order.

        Raises:
            MissingUserError: No user was given.
            InvalidRecordError: An embedding has another length than the memory's.
            StoreUnavailableError: It could not be written; nothing of it is kept.
        """
        self._check(user_id)
        arrived: dict[str, tuple[int, Entry]] = {}
        for entry in entries:
            if entry.embedding.shape != (self.dimension,):
                raise InvalidRecordError(
                    f"The embedding of record {entry.record.id!r} has shape {entry.embedding.shape}.",
                    f"This memory keeps embeddings of shape [{self.dimension}].",
                )
            if entry.record.id not in arrived:
                seq = self._clock.tick()
                arrived[entry.record.id] = seq, _dated(entry, moment(seq))
        if arrived:
            rows = [row_of(user_id, entry, seq) for seq, entry in arrived.values()]
            try:
                self._healed(user_id, lambda: self._lane(user_id).submit(Submission(user_id, rows)))
            except BaseException:
                self._changed(user_id)  # it may have been written in part
                raise
            self._changed(user_id, arrived.values())
            if self.max_records is not None and self._cache.length(user_id) > 2 * self.max_records + SLACK:
                self._trim(user_id)
        return [entry.record.id for entry in entries]

    def known(self, user_id: str, ids: Collection[str]) -> set[str]:
        """Which of some record ids of a user are kept already."""
        self._check(user_id)
        if isinstance(self.backend, Embedded):
            timeline = self._cache.get(user_id, self._revision(user_id))
            if timeline is not None:
                return {record for record in ids if record in timeline}
        rows = {row_id(user_id, record): record for record in ids}
        return {rows[key] for key in self._healed(user_id, lambda: self.backend.known(user_id, list(rows)))}

    def history(self, user_id: str) -> History:
        """Everything that is kept about a user, in the order of time; empty for an unknown one."""
        self._check(user_id)
        revision = self._revision(user_id)
        timeline = self._timeline(user_id, revision)
        with self._cache.lock:
            view = self._view(timeline)
            if view is None:
                return timeline.history(revision)
            return timeline.history((revision, len(view.expired), len(view.earlier)), view)

    def everything(self, user_id: str) -> History:
        """All that is on disk of a user: also what retention and the cap no longer let be shown, and summaries."""
        self._check(user_id)
        revision = self._revision(user_id)
        timeline = self._timeline(user_id, revision)
        with self._cache.lock:
            return timeline.history(revision)

    def revision(self, user_id: str) -> Hashable:
        """A value that changes with every write to a user."""
        self._check(user_id)
        return self._revision(user_id)

    def replace_numbers(self, user_id: str, numbers: Mapping[str, tuple[Mapping[str, NDArray[Any]], str]]) -> None:
        """Keep what a newer scorer said about records: by record id, its arrays and its version.

        Ids that are not kept are ignored.
        """
        self._check(user_id)
        metadatas = {row_id(user_id, record): numbers_of(*given) for record, given in numbers.items()}
        with self._lane(user_id).lock:
            known = self._healed(user_id, lambda: self.backend.known(user_id, list(metadatas)))
            self.backend.update(user_id, {key: fields for key, fields in metadatas.items() if key in known})
            self._changed(user_id)

    def forget(
        self, user_id: str, *, before: datetime | None = None, record_ids: Collection[str] | None = None
    ) -> Receipt:
        """Erase a user, or some of the user's records, from every byte of the folder.

        Other users can be read meanwhile; writes to the sixteenth of users that share the lane wait. After a crash
        the next `open` finishes it.

        Args:
            user_id: Whom to forget.
            before: Only records older than this, a time with a time zone.
            record_ids: Only records with one of these ids; with `before`, those that are both.

        Returns:
            What was erased, what was verified, and what lies out of reach.

        Raises:
            MissingUserError: No user was given.
            StoreUnavailableError: It could not be finished; call it again, or open the memory again.
        """
        self._check(user_id)
        with self._lane(user_id).lock:
            entries = self._timeline(user_id, self._revision(user_id)).entries if before is not None else ()
            chosen = chosen_records(entries, before=before, record_ids=record_ids)
            if before is None and record_ids is not None:
                chosen = list(record_ids)
            rows = None if chosen is None else [row_id(user_id, record) for record in chosen]
            try:
                receipt = self._healed(user_id, lambda: erase(self.backend, user_id, rows, self._clock.tick()))
            finally:
                self._changed(user_id)
            if self.max_records is not None and record_ids is not None:
                left = [entry.record for entry in self.everything(user_id).entries]
                receipt = receipt.beside_summaries([record.id for record in left if isinstance(record, Summary)])
            return receipt

    def sweep(self) -> int:
        """Erase, as `forget` does, what retention and the cap no longer let be kept; gives the number of records."""
        self._check_open()
        if self.retention is None and self.max_records is None:
            return 0
        if isinstance(self.backend, Server):
            return sum(self._trim(user_id) for user_id in list(self.users()))
        return sum(self._trim_shard(self.backend, prefix) for prefix in self.backend.prefixes())

    def users(self) -> Iterator[str]:
        """Everybody who has records, each once."""
        self._check_open()
        return self.backend.users()

    def close(self) -> None:
        """Release locks, files and connections; a private memory is gone. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._finalizer()
            self._cache.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, user_id: str) -> None:
        check_user(user_id)
        self._check_open()

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise StoreUnavailableError(
                "This memory was opened before the process was forked, and cannot be used in the child.",
                "Open it in the child after the parent closed it, or let both use a Chroma server.",
            )
        if self._closed:
            raise StoreUnavailableError("This memory is closed.", "Open it again.")

    def _healed(self, user_id: str, call: Callable[[], _T]) -> _T:
        """Call; when the user's shard turns out to be damaged, recover what can be read of it and call again."""
        try:
            return call()
        except DamagedShardError:
            if not isinstance(self.backend, Embedded):
                raise
            with self._lane(user_id).lock:
                try:
                    return call()  # another thread may have been first
                except DamagedShardError as error:
                    recovery = self.backend.recover(self.backend.locate(user_id), error)
                self._floor = self._writes = self._writes + 1
                self._revisions.clear()
                self._cache.clear()
            if recovery is None:
                raise
            return call()

    def _lane(self, user_id: str) -> Lane[Submission]:
        return self._lanes[self.backend.lane(user_id)]

    def _revision(self, user_id: str) -> tuple[str, int, str]:
        return self._nonce, self._own_writes(user_id), self.backend.token(user_id)

    def _own_writes(self, user_id: str) -> int:
        """The number of this memory's latest write to a user."""
        return self._revisions.get(user_key(user_id), self._floor)

    def _changed(self, user_id: str, arrived: Iterable[tuple[int, Entry]] | None = None) -> None:
        """Count a write; what was added may be added to the cached timeline, if nobody else writes."""
        with self._cache.lock:
            embedded = isinstance(self.backend, Embedded)
            timeline = None
            if embedded and arrived is not None:
                timeline = self._cache.get(user_id, self._revision(user_id))
            self._writes += 1
            if len(self._revisions) >= _MOST_REVISIONS:
                self._revisions.clear()
                self._floor = self._writes
            self._revisions[user_key(user_id)] = self._writes
            if timeline is not None and arrived is not None:
                timeline.add(arrived)
                self._cache.put(user_id, self._revision(user_id), timeline)
            else:
                self._cache.drop(user_id)

    def _timeline(self, user_id: str, revision: Hashable) -> Timeline:
        timeline = self._cache.get(user_id, revision)
        if timeline is None:
            writes = self._own_writes(user_id)
            batches = self._healed(user_id, lambda: list(self.backend.read(user_id)))
            timeline = Timeline(self.dimension, (entry_of(row) for rows in batches for row in rows))
            if timeline.last_seq:
                self._clock.observe(timeline.last_seq)
            with self._cache.lock:
                if self._own_writes(user_id) == writes:
                    self._cache.put(user_id, revision, timeline)
        return timeline

    def _view(self, timeline: Timeline) -> View | None:
        cutoff = float("-inf") if self.retention is None else time.time() - self.retention.total_seconds()
        return timeline.view(cutoff, self.max_records)

    def _surplus(self, timeline: Timeline) -> tuple[list[Entry], list[Entry]]:
        """What retention and the cap no longer let be kept, and the summary to keep instead, if any."""
        view = self._view(timeline)
        if view is None:
            return [], []
        entries = timeline.entries
        dropped = [entries[i] for i in view.expired]
        earlier = [entries[i] for i in view.earlier]
        last = max((i for i in view.earlier if not isinstance(entries[i].record, Summary)), default=None)
        if last is None:
            return dropped, []
        summed = [entry for entry in earlier if self._belongs(entry.record, entries[last].record.at)]
        dropped += summed
        if self.summarise is None:
            return [entry for entry in dropped if not isinstance(entry.record, Summary)], []
        return dropped, [self.summarise(summed, [entries[i] for i in view.shown])]

    def _belongs(self, record: Record, until: datetime | None) -> bool:
        """Whether a record goes into a summary up to a time: not an older summary, which retention will erase first."""
        if not isinstance(record, Summary) or self.retention is None or record.since is None or until is None:
            return True
        return until - record.since <= self.retention / SUMMARIES

    def _trim(self, user_id: str) -> int:
        with self._lane(user_id).lock:
            timeline = self._timeline(user_id, self._revision(user_id))
            dropped, kept = self._surplus(timeline)
            if not dropped:
                return 0
            ids = [row_id(user_id, entry.record.id) for entry in dropped]
            rows = [row_of(user_id, entry, self._clock.tick()) for entry in kept]
            try:
                if len(dropped) == len(timeline) and not kept:
                    erase(self.backend, user_id, None, self._clock.tick())
                elif isinstance(self.backend, Embedded):
                    self.backend.rebuild(self.backend.locate(user_id), without=ids, adding=rows)
                else:
                    if rows:
                        self.backend.write([Submission(user_id, rows)])
                    self.backend.delete(user_id, ids, everything=False)
            finally:
                self._changed(user_id)
            return _records(dropped)

    def _trim_shard(self, backend: Embedded, prefix: str) -> int:
        with self._lanes[backend.lane_of(prefix)].lock:
            count = 0
            without: list[str] = []
            adding: list[Row] = []
            users: dict[str, bool] = {}
            for user_id in backend.users_of(prefix):
                timeline = self._timeline(user_id, self._revision(user_id))
                dropped, kept = self._surplus(timeline)
                if dropped:
                    users[user_id] = len(dropped) == len(timeline) and not kept
                    without += [row_id(user_id, entry.record.id) for entry in dropped]
                    adding += [row_of(user_id, entry, self._clock.tick()) for entry in kept]
                    count += _records(dropped)
            if users:
                gone = [user for user, everything in users.items() if everything]
                backend.rebuild(prefix, without=without, without_users=gone, adding=adding)
                for user_id in users:
                    self._changed(user_id)
            return count


def _records(entries: Iterable[Entry]) -> int:
    return sum(not isinstance(entry.record, Summary) for entry in entries)


def check_user(user_id: str) -> None:
    """Refuse a user id that is missing or cannot be stored.

    Raises:
        MissingUserError: It is not a string with more than whitespace.
        InvalidRecordError: It holds a lone surrogate or a NUL character.
    """
    if not isinstance(user_id, str) or not user_id.strip():
        raise MissingUserError(
            f"The user id is {user_id!r}, so it is unknown whose memory to use.",
            "Pass a non-empty string that is this user's own.",
        )
    if "\x00" in user_id or any("\ud800" <= letter <= "\udfff" for letter in user_id):
        raise InvalidRecordError(
            "The user id holds a NUL character or a lone surrogate, which cannot be stored.", "Give another id."
        )


def _dated(entry: Entry, at: datetime) -> Entry:
    if entry.record.at is not None:
        return entry
    return Entry(record=entry.record.dated(at), embedding=entry.embedding, numbers=entry.numbers, version=entry.version)
