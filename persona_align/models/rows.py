"""One reply in the making: a row of a batch that knows when it is done and to whom its text goes."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from persona_align.models.settings import Settings
from persona_align.models.text_stream import TextStream
from persona_align.steering.offsets import ActivationOffsets

__all__ = ["Deliver", "Event", "FinishReason", "Outcome", "Row"]

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a row ended.

    Args:
        text: The whole reply.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens generated, the one that ended the reply included.
        finish_reason: "stop" for an end-of-turn token or a stop text, "length" for the limit.
    """

    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: FinishReason


Event = str | Outcome
Deliver = Callable[[Event | BaseException], None]


class Row:
    """One prompt and its reply so far; the round feeds it tokens, it delivers text and finally its outcome.

    Args:
        prompt: Token ids.
        settings: How to generate.
        tokenizer: Turns tokens into text.
        ends: Tokens that end the reply.
        offsets: Steering of this row alone.
        streaming: Deliver text as it grows; otherwise only the outcome.
        room: Tokens that fit behind the prompt; None where the model has no limit.
        special: Keep special tokens in the text, because tool calls are marked by them.
        deliver: Where text, the outcome or an error goes; called by the thread that generates.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        settings: Settings,
        *,
        tokenizer: Any,
        ends: frozenset[int],
        deliver: Deliver,
        offsets: ActivationOffsets | None = None,
        streaming: bool = False,
        room: int | None = None,
        special: bool = False,
    ) -> None:
        self.prompt = list(prompt)
        self.settings = settings
        self.offsets = offsets
        self.ends = ends
        self.room = room
        self.started = False
        self._tokenizer, self._special = tokenizer, special
        self._deliver, self._streaming = deliver, streaming
        self._stream = (
            TextStream(tokenizer, settings.stop, skip_special_tokens=not special)
            if streaming or settings.stop
            else None
        )
        self._pieces: list[str] = []
        self._tokens: list[int] = []
        self._count = 0
        self._ended = threading.Event()

    @property
    def done(self) -> bool:
        """Whether the row needs no more tokens: ended, failed or cancelled."""
        return self._ended.is_set()

    def accept(self, token: int) -> None:
        """Take the next token; those after the end are ignored."""
        if self.done:
            return
        self.started = True
        self._count += 1
        if token in self.ends:
            self._finish("stop")
            return
        if self._stream is None:
            self._tokens.append(token)
        else:
            self._emit(self._stream.push(token))
            if self._stream.stopped:
                self._finish("stop")
                return
        if self._count >= self.settings.max_tokens:
            self._finish("length")

    def fits_with(self, others: "Sequence[Row]") -> bool:
        """Whether none of these rows would be carried past the model's last position while another one goes on."""
        rows = (self, *others)
        longest = max(row.settings.max_tokens for row in rows)
        return all(row.room is None or longest <= row.room for row in rows)

    def cancel(self) -> None:
        """Nobody waits for this row any more: it ends at the next token."""
        self._ended.set()

    def fail(self, error: BaseException) -> None:
        """Hand `error` to whoever waits."""
        if not self.done:
            self._ended.set()
            self._deliver(error)

    def _finish(self, reason: FinishReason) -> None:
        if self._stream is None:
            text = self._tokenizer.decode(
                self._tokens, skip_special_tokens=not self._special, clean_up_tokenization_spaces=False
            )
        else:
            self._emit(self._stream.flush())
            text = "".join(self._pieces)
        if not self.done:
            self._ended.set()
            self._deliver(
                Outcome(text=text, input_tokens=len(self.prompt), output_tokens=self._count, finish_reason=reason)
            )

    def _emit(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            if self._streaming and not self.done:
                self._deliver(text)
