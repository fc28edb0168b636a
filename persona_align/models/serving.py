"""Requests through the model's queue: from a thread, from a task, or many as one batch."""

from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from persona_align.models.batching import Batcher
from persona_align.models.inbox import AsyncInbox, Inbox
from persona_align.models.request import Request
from persona_align.models.rows import Event, Outcome, Row

__all__ = ["Serving"]


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

    def events(self, request: Request, *, streaming: bool) -> Generator[Event]:
        """Text as it grows, if `streaming`, and the outcome last; closing it ends the reply."""
        inbox = Inbox(self.timeout)
        row = request.row(self.model, self.tokenizer, inbox.deliver, streaming=streaming)
        try:
            self._submit([row])
            yield from inbox.events()
        finally:
            row.cancel()  # also where the client went away

    async def aevents(self, request: Request, *, streaming: bool) -> AsyncGenerator[Event]:
        """The same for a task, whose event loop stays free."""
        inbox = AsyncInbox(self.timeout)
        row = request.row(self.model, self.tokenizer, inbox.deliver, streaming=streaming)
        try:
            self._submit([row])
            async for event in inbox.events():
                yield event
        finally:
            row.cancel()

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

    def _submit(self, rows: Sequence[Row]) -> None:
        Batcher.of(self.model).submit(self.model, rows, max_batch=self.max_batch, max_queue=self.max_queue)


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
