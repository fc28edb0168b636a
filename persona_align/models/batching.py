"""Concurrent requests of different users in one batch, round by round."""

import heapq
import itertools
import threading
import time
import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from persona_align.errors import QueueFullError
from persona_align.models.rounds import run_round
from persona_align.models.rows import Row

__all__ = ["Batcher"]

_COMING_SECONDS = 0.2
"""So long a round waits for requests that were announced."""
_IDLE_SECONDS = 2.0
_BURST_SECONDS = 0.0003
_PADDING_TOKENS = 2048
_GROUP: ContextVar["_Group | None"] = ContextVar("persona_align_group", default=None)
_BY_MODEL: "weakref.WeakKeyDictionary[Any, Batcher]" = weakref.WeakKeyDictionary()
_REGISTRY = threading.Lock()


@dataclass(frozen=True)
class _Ticket:
    model: Any
    rows: Sequence[Row]
    max_batch: int


@dataclass
class _Group:
    """Requests that were announced, and how many of them have not been submitted yet."""

    batcher: "Batcher"
    left: int


class Batcher:
    """The queue before one model, shared by every chat model over it; take it with `Batcher.of(model)`.

    A thread runs rounds while there is work and ends soon after. A round takes what waits, up to its limit; requests
    that come during a round meet in the next one. A round waits, a fraction of a second at most, only for requests that
    are being prepared at that moment: a lone request does not wait. Rows end on their own, whatever their
    neighbours do, and a very long prompt does not pad many short ones. Turns are taken in order of arrival, except
    that requests with the same offsets, which means of the same user, alternate with everybody else's.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[int, int, _Ticket]] = []
        self._serial = itertools.count()
        self._turn = 0
        self._turns: dict[Hashable, int] = {}
        self._waiting = 0
        self._coming = 0
        self._worker: threading.Thread | None = None

    @classmethod
    def of(cls, model: Any) -> "Batcher":
        """The queue before `model`; the same one for the same model."""
        with _REGISTRY:
            return _BY_MODEL.setdefault(model, cls())

    def submit(self, model: Any, rows: Sequence[Row], *, max_batch: int, max_queue: int) -> None:
        """Queue rows that belong in one round; they deliver their replies themselves.

        Args:
            model: The model this queue stands before.
            rows: One or more; together they go into one round, even where they are more than `max_batch`.
            max_batch: Most rows of a round that this request joins.
            max_queue: Most rows that may wait already.

        Raises:
            QueueFullError: More than that are waiting.
        """
        with self._changed:
            if self._waiting >= max_queue:
                raise QueueFullError(
                    f"{self._waiting} requests are waiting for this model, and its queue holds {max_queue}.",
                    "Try again later, or raise max_queue.",
                )
            heapq.heappush(self._queue, (self._turn_of(rows), next(self._serial), _Ticket(model, rows, max_batch)))
            self._waiting += len(rows)
            self._arrived(len(rows))
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="persona-align-batcher")
                self._worker.start()
            else:
                self._changed.notify()

    @contextmanager
    def coming(self, count: int = 1) -> Iterator[None]:
        """Announce requests that the block is going to submit, so that they can meet in one round.

        Inside a block that announced some, as many that announce themselves are already counted.
        """
        outer = _GROUP.get()
        group = _Group(self, count)
        token = _GROUP.set(group)
        with self._changed:
            counted = min(count, outer.left) if outer is not None and outer.batcher is self else 0
            if outer is not None:
                outer.left -= counted
            self._coming += count - counted
        try:
            yield
        finally:
            _GROUP.reset(token)
            with self._changed:
                self._coming -= group.left
                group.left = 0
                self._changed.notify()

    def _arrived(self, count: int) -> None:
        group = _GROUP.get()
        if group is not None and group.batcher is self:
            count = min(count, group.left)
            group.left -= count
            self._coming -= count

    def _turn_of(self, rows: Sequence[Row]) -> int:
        lanes = {row.offsets.content_hash for row in rows if row.offsets is not None}
        if len(lanes) != 1:
            return self._turn
        lane = lanes.pop()
        turn = self._turns[lane] = max(self._turn, self._turns.get(lane, -1) + 1)
        return turn

    def _work(self) -> None:
        while tickets := self._next_round():
            _run(tickets)
            del tickets  # hold no model while nothing waits

    def _next_round(self) -> list[_Ticket]:
        with self._changed:
            self._idle()
            if self._waiting == 1 and not self._coming:
                # Gives the other threads of a burst the moment they need to announce themselves.
                self._changed.wait(_BURST_SECONDS)
            self._gather()
            tickets = self._take()
            if not tickets:
                self._worker, self._turn = None, 0
                self._turns.clear()
            return tickets

    def _idle(self) -> None:
        """Wait a while for work, because waking a thread is faster than starting one; not after the program's end."""
        end = time.monotonic() + _IDLE_SECONDS
        while not self._queue and time.monotonic() < end and threading.main_thread().is_alive():
            self._changed.wait(0.1)

    def _gather(self) -> None:
        """Wait for announced requests, until they have come, a batch is full, or the time is up."""
        self._changed.wait_for(
            lambda: not self._coming or (self._queue and self._waiting >= self._queue[0][2].max_batch),
            timeout=_COMING_SECONDS,
        )

    def _take(self) -> list[_Ticket]:
        tickets: list[_Ticket] = []
        together: list[Row] = []
        while self._queue:
            turn, _, ticket = self._queue[0]
            live = [row for row in ticket.rows if not row.done]
            limit = min(joined.max_batch for joined in (*tickets, ticket))
            if tickets and live and (len(together) + len(live) > limit or not _fit(together + live)):
                break
            heapq.heappop(self._queue)
            self._waiting -= len(ticket.rows)
            if live:
                tickets.append(ticket)
                together += live
                self._turn = turn
        return tickets


def _fit(rows: Sequence[Row]) -> bool:
    """Whether rows can share a batch, and whether it is worth while: all are padded to the longest prompt."""
    lengths = [len(row.prompt) for row in rows]
    padded = len(lengths) * max(lengths)
    return padded <= 1.5 * sum(lengths) + _PADDING_TOKENS and rows[0].fits_with(rows[1:])


def _run(tickets: Sequence[_Ticket]) -> None:
    rows = [row for ticket in tickets for row in ticket.rows if not row.done]
    try:
        run_round(tickets[0].model, rows)
    except BaseException as error:
        # One user's failure is not another's: what has not begun to speak is tried again alone.
        if len(tickets) == 1:
            _fail(rows, error)
            return
        for ticket in tickets:
            if any(row.started for row in ticket.rows):
                _fail(ticket.rows, error)
            else:
                _run([ticket])


def _fail(rows: Sequence[Row], error: BaseException) -> None:
    for row in rows:
        row.fail(error)
