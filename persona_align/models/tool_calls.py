"""Tool calls in a model's text, in the formats that local models write."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call

from persona_align.models.text_stream import held_back

__all__ = ["Parsed", "ToolStream", "parse_tool_calls"]

_MARKS: Final = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "```")
_CLOSING: Final = re.compile(r"\s*(</tool_call>|<\|eom_id\|>|<\|eot_id\|>|```|;|,)?\s*")
_FENCE: Final = re.compile(r"```(?:json|tool_call)?[ \t]*\n?")
_DECODER: Final = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """A reply with its tool calls taken out.

    Args:
        content: The text before them, or all of it.
        tool_calls: Those that could be read.
        invalid_tool_calls: Those that were marked as calls and could not.
    """

    content: str
    tool_calls: list[ToolCall]
    invalid_tool_calls: list[InvalidToolCall]


def parse_tool_calls(text: str, names: Sequence[str], *, salt: str = "") -> Parsed:
    """Find tool calls: `<tool_call>`, `<|python_tag|>`, `[TOOL_CALLS]`, a fenced or a bare JSON object.

    Only the marked forms may call what is not in `names`: other JSON is just a reply that holds JSON.

    Args:
        text: What the model wrote.
        names: The tools that were offered.
        salt: Makes ids differ between conversations; the same text and salt give the same ids.

    Example:
        >>> parsed = parse_tool_calls('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>', ["add"])
        >>> parsed.tool_calls[0]["args"]
        {'a': 1}
    """
    start = _beginning(text)
    if start is None:
        return Parsed(text, [], [])
    before, body = text[:start].rstrip(), text[start:]
    mark = next((mark for mark in _MARKS if body.startswith(mark)), "")
    marked = mark not in ("", "```")
    found, rest = _objects(_FENCE.sub("", body, count=1) if mark == "```" else body)
    calls = [call for value in found for call in _calls(value)]
    known = [call for call in calls if marked or call[0] in names]
    if not known or (not marked and (len(known) != len(calls) or rest)):
        invalid = [invalid_tool_call(name=None, args=rest or body, id=_id(salt, text, 0), error=_UNREADABLE)]
        return Parsed(before, [], invalid) if marked else Parsed(text, [], [])
    made = [tool_call(name=name, args=args, id=_id(salt, text, index)) for index, (name, args) in enumerate(known)]
    broken = [invalid_tool_call(name=None, args=rest, id=_id(salt, text, len(made)), error=_UNREADABLE)]
    return Parsed(before, made, broken if marked and rest.startswith(("{", "[")) else [])


_UNREADABLE: Final = "The call is not a JSON object with a name and arguments."


class ToolStream:
    """Lets a reply's text through as it grows and keeps back what may be a tool call, until the end tells."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = self._holding = False

    def push(self, text: str) -> str:
        """The text that is certainly no call."""
        self._held += text
        if self._holding:
            return ""
        start = _beginning(self._held, bare=not self._begun)
        if start is None:
            start = len(self._held) - held_back(self._held, _MARKS)
        else:
            self._holding = True
        certain, self._held = self._held[:start], self._held[start:]
        self._begun = self._begun or bool(certain.strip())
        return certain

    def end(self) -> str:
        """What was kept back."""
        return self._held


def _beginning(text: str, *, bare: bool = True) -> int | None:
    """Where the first call may begin: at a mark, or at once where the text is bare JSON."""
    places = [place for mark in _MARKS if (place := text.find(mark)) >= 0]
    opening = len(text) - len(text.lstrip())
    if bare and text[opening : opening + 1] in ("{", "["):
        places.append(opening)
    return min(places, default=None)


def _objects(text: str) -> tuple[list[Any], str]:
    """The JSON values in a row, with or without marks between them, and the text after the last."""
    found: list[Any] = []
    place = 0
    while True:
        place = _skip(text, place)
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return found, text[place:].strip()
        found.append(value)
        place = _CLOSING.match(text, place).end()  # type: ignore[union-attr]


def _skip(text: str, place: int) -> int:
    moved = True
    while moved:
        moved = False
        while place < len(text) and text[place].isspace():
            place += 1
        for mark in _MARKS[:3]:
            if text.startswith(mark, place):
                place, moved = place + len(mark), True
    return place


def _calls(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, list):
        for item in value:
            yield from _calls(item)
        return
    if not isinstance(value, dict):
        return
    inner = value.get("function")
    body = inner if isinstance(inner, dict) else value
    name = body.get("name", inner if isinstance(inner, str) else None)
    args: Any = next((body[key] for key in ("arguments", "parameters", "args") if key in body), {})
    if isinstance(args, str):
        try:
            args = json.loads(args) if args.strip() else {}
        except ValueError:
            return
    if isinstance(name, str) and name and isinstance(args, dict | None):
        yield name, args or {}


def _id(salt: str, text: str, index: int) -> str:
    return "call_" + hashlib.sha256(f"{salt}|{text}|{index}".encode(errors="surrogatepass")).hexdigest()[:24]
