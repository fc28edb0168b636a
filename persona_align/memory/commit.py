"""Writes of several threads put together: one transaction instead of many, with a bound on how many wait."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from persona_align.errors import StoreUnavailableError

__all__ = ["Lane"]

T = TypeVar("T")


class Lane(Generic[T]):
    """A lane of writes: whoever comes first writes for all that wait behind; later ones form the next group.

    Args:
        write: Writes a group of items, in order; gives for each None or the error that concerns it alone.
        weight: How many rows an item has.
        group: How many rows one group may have; a larger item forms a group of its own.
        waiting: How many rows may wait; beyond it, callers are held back.
        patience: For how many seconds a caller is held back before it is refused.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Sequence[BaseException | None]],
        weight: Callable[[T], int],
        *,
        group: int = 512,
        waiting: int = 4096,
        patience: float = 60.0,
    ) -> None:
        self._write = write
        self._weight = weight
        self._group = group
        self._waiting = waiting
        self._patience = patience
        self._queue: deque[tuple[T, Future[None]]] = deque()
        self._rows = 0
        self._room = threading.Condition()
        self.lock = threading.RLock()
        """Held while a group is written; whoever holds it keeps this lane from changing."""

    def submit(self, item: T) -> None:
        """Write an item, together with others that wait; returns when it is on disk.

        Raises:
            StoreUnavailableError: Too many writes are waiting, or it could not be written.
        """
        done: Future[None] = Future()
        weight = self._weight(item)
        with self._room:
            if not self._room.wait_for(
                lambda: self._rows == 0 or self._rows + weight <= self._waiting, timeout=self._patience
            ):
                raise StoreUnavailableError(
                    f"{self._rows} rows have been waiting to be written for {self._patience:.0f} s.",
                    "Send fewer at once, or check the disk or the server: it does not keep up.",
                )
            self._queue.append((item, done))
            self._rows += weight
        while not done.done():
            with self.lock:
                if not done.done():
                    self._lead()
        done.result()

    def _lead(self) -> None:
        group: list[tuple[T, Future[None]]] = []
        with self._room:
            rows = 0
            while self._queue and (not group or rows + self._weight(self._queue[0][0]) <= self._group):
                group.append(self._queue.popleft())
                rows += self._weight(group[-1][0])
        try:
            outcomes = self._write([item for item, _ in group])
        except BaseException as error:
            for _, done in group:
                done.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if outcome is None:
                    done.set_result(None)
                else:
                    done.set_exception(outcome)
        finally:
            with self._room:
                self._rows -= rows
                self._room.notify_all()
