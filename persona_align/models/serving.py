"""Requests through the model's queue: from a thread, from a task, or many as one batch."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from persona_align.models.batching import Batcher
from persona_align.models.inbox import AsyncInbox, Inbox
from persona_align.models.request import Request
from persona_align.models.rows import Event, Outcome, Row

__all__ = ["Reply", "Serving"]


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How one chat model uses the queue before its Hugging Face model.

    Args:
        model: The Hugging Face model.
        tokenizer: Its tokenizer.
        timeout: Seconds until a reply must be complete; None waits without limit.
        max_batch: Most rows of a round that its requests join.
        max_queue: Most rows that may wait already.
    """

    model: Any
    tokenizer: Any
    timeout: float | None
    max_batch: int
    max_queue: int

    def start(self, write: Callable[[], Request], *, streaming: bool) -> "Reply":
        """Write a request and queue it.

        Args:
            write: Makes the request; others wait a moment for it, to be in the same batch.
            streaming: Whether text is wanted as it grows.
        """
        with self._batcher.coming():
            return self._queue(write(), Inbox(self.timeout), streaming=streaming)

    async def astart(self, write: Callable[[], Request], *, streaming: bool) -> "Reply":
        """The same for a task, whose event loop stays free."""
        with self._batcher.coming():
            request = await asyncio.to_thread(write)
            return self._queue(request, AsyncInbox(self.timeout), streaming=streaming)

    def outcomes(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of many requests that go into one batch."""
        inboxes = [Inbox(self.timeout) for _ in requests]
        rows = [
            request.row(self.model, self.tokenizer, inbox.deliver, streaming=False)
            for request, inbox in zip(requests, inboxes, strict=True)
        ]
        try:
            for together in _compatible(rows):
                self._submit(together)
            return [event for inbox in inboxes for event in inbox.events() if isinstance(event, Outcome)]
        finally:
            for row in rows:
                row.cancel()

    @property
    def _batcher(self) -> Batcher:
        return Batcher.of(self.model)

    def _queue(self, request: Request, inbox: Inbox | AsyncInbox, *, streaming: bool) -> "Reply":
        row = request.row(self.model, self.tokenizer, inbox.deliver, streaming=streaming)
        self._submit([row])
        return Reply(request, row, inbox)

    def _submit(self, rows: Sequence[Row]) -> None:
        self._batcher.submit(self.model, rows, max_batch=self.max_batch, max_queue=self.max_queue)


@dataclass(frozen=True)
class Reply:
    """A reply on its way; leaving its events, at the end or early, ends it.

    Args:
        request: What is replied to.
        row: Its row in a batch.
        inbox: Where its text arrives.
    """

    request: Request
    row: Row
    inbox: Inbox | AsyncInbox

    def events(self) -> Generator[Event]:
        """Text as it grows, if wanted, and the outcome last."""
        assert isinstance(self.inbox, Inbox)
        try:
            yield from self.inbox.events()
        finally:
            self.row.cancel()  # also where the client went away

    async def aevents(self) -> AsyncGenerator[Event]:
        """The same for a task."""
        assert isinstance(self.inbox, AsyncInbox)
        try:
            async for event in self.inbox.events():
                yield event
        finally:
            self.row.cancel()


def _compatible(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in as few batches as the model's last position allows; nearly always one."""
    batches: list[list[Row]] = []
    for row in rows:
        home = next((batch for batch in batches if row.fits_with(batch)), None)
        if home is None:
            batches.append([row])
        else:
            home.append(row)
    return batches
