"""Tokens in, readable text out: whole characters only, and nothing that may still turn out to be a stop text."""

from collections.abc import Sequence
from typing import Any

__all__ = ["TextStream", "held_back"]

_WINDOW = 24
_UNFINISHED = "\ufffd"


class TextStream:
    """The text of one reply as it grows.

    Args:
        tokenizer: A Hugging Face tokenizer.
        stop: Texts at which the reply ends.
        skip_special_tokens: Whether special tokens leave no text.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), *, skip_special_tokens: bool = True) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._skip = skip_special_tokens
        self._ids: list[int] = []
        self._known = ""
        self._held = ""

    def push(self, token: int) -> str:
        """The text that is certain once `token` has been added; often empty."""
        self._ids.append(token)
        text = self._decode()
        if text.endswith(_UNFINISHED):
            return ""
        grown = text[len(self._known) :]
        self._known = text
        if len(self._ids) > _WINDOW:
            # A few tokens of context remain, because some tokenizers join a word to the one before it.
            self._ids = self._ids[-_WINDOW // 3 :]
            self._known = self._decode()
        return self._release(grown)

    def flush(self) -> str:
        """What was held back, when no more tokens come."""
        if self.stopped:
            return ""
        grown = self._decode()[len(self._known) :]
        self._ids, self._known = [], ""
        certain = self._release(grown)
        rest, self._held = self._held, ""
        return certain + rest

    def _release(self, grown: str) -> str:
        text = self._held + grown
        ends = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        cut = len(text) - held_back(text, self._stop)
        self._held = text[cut:]
        return text[:cut]

    def _decode(self) -> str:
        text: str = self._tokenizer.decode(
            self._ids, skip_special_tokens=self._skip, clean_up_tokenization_spaces=False
        )
        return text


def held_back(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of the `marks`.

    Example:
        >>> held_back("wait for <tool", ["<tool_call>"])
        5
    """
    longest = max((len(mark) for mark in marks), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        tail = text[-size:]
        if any(mark.startswith(tail) for mark in marks):
            return size
    return 0
