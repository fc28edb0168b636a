"""Where a reply arrives: a place to wait in a thread, and one to wait in an event loop without blocking it."""

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Iterator

from persona_align.models.rows import Event, Outcome

__all__ = ["AsyncInbox", "Inbox"]


class Inbox:
    """What a row delivers, for the thread that waits for it.

    Args:
        timeout: Seconds from now until the outcome; None waits without limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._clock = _Clock(timeout)

    def deliver(self, event: Event | BaseException) -> None:
        """Called by the thread that generates."""
        self._events.put(event)

    def events(self) -> Iterator[Event]:
        """Text as it comes, and the outcome last.

        Raises:
            TimeoutError: The outcome did not come in time.
        """
        while True:
            try:
                event = self._events.get(timeout=self._clock.left)
            except queue.Empty:
                raise self._clock.error() from None
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Outcome):
                return


class AsyncInbox:
    """The same for a task; it must be made inside the event loop.

    Args:
        timeout: Seconds from now until the outcome; None waits without limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self._clock = _Clock(timeout)

    def deliver(self, event: Event | BaseException) -> None:
        """Called by the thread that generates; a loop that is gone has nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[Event]:
        """Text as it comes, and the outcome last.

        Raises:
            TimeoutError: The outcome did not come in time.
        """
        while True:
            try:
                async with asyncio.timeout(self._clock.left):
                    event = await self._events.get()
            except TimeoutError:
                raise self._clock.error() from None
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Outcome):
                return


class _Clock:
    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def error(self) -> TimeoutError:
        return TimeoutError(
            f"The reply was not complete after {self._timeout} seconds. Raise timeout or lower max_tokens."
        )
