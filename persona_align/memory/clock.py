"""Arrival numbers: microseconds since 1970 that only ever grow, whatever the machine's clock does."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["Clock", "moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESERVE = 60_000_000


def moment(microseconds: int) -> datetime:
    """The time that an arrival number stands for.

    Example:
        >>> moment(1_500_000).isoformat()
        '1970-01-01T00:00:01.500000+00:00'
    """
    return _EPOCH + timedelta(microseconds=microseconds)


class Clock:
    """Gives strictly growing arrival numbers, near to the wall clock. Safe to use from several threads.

    Args:
        last: A number that is not smaller than any given out before.
        reserve: Called with an upper bound before numbers under it are given out, so that the next
            process can start above it even when the wall clock was set back.
        now: The wall clock in nanoseconds.

    Example:
        >>> clock = Clock(now=lambda: 5_000)
        >>> clock.tick(), clock.tick()
        (5, 6)
    """

    def __init__(
        self,
        last: int = 0,
        reserve: Callable[[int], None] | None = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._last = last
        self._bound = last
        self._reserve = reserve
        self._now = now
        self._lock = threading.Lock()

    def tick(self) -> int:
        """The next arrival number."""
        with self._lock:
            following = max(self._now() // 1000, self._last + 1)
            if self._reserve is not None and following > self._bound:
                self._reserve(following + _RESERVE)
                self._bound = following + _RESERVE
            self._last = following
            return following

    def observe(self, seen: int) -> None:
        """Stay above a number that somebody else gave out."""
        with self._lock:
            self._last = max(self._last, seen)
