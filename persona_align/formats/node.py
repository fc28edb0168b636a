"""A value in a parsed file that knows where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from persona_align.errors import InvalidRecordError

if TYPE_CHECKING:
    from persona_align.formats.document import Document

__all__ = ["Node", "Step"]

Step = str | int
_REMEDY = "Correct it and ingest the file again; nothing of it was recorded."
_MILLISECONDS_FROM = 1e11
"""A number of seconds this large lies in the year 5138: it is meant in milliseconds."""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A JSON value with its place in the document."""

    value: Any
    path: tuple[Step, ...]
    document: "Document"
    line: int | None = None

    @property
    def name(self) -> str:
        """The path as one reads it: `messages[2].content`."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".") or "the value"

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        match self.value:
            case None:
                return "null"
            case bool():
                return "true or false"
            case int() | float():
                return "a number"
            case str():
                return "a text"
            case list():
                return "a list"
            case _:
                return _keys_of(self.value)

    def has(self, key: str) -> bool:
        """Whether it is an object with this field, and the field is not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def get(self, *keys: str) -> "Node | None":
        """The first of these fields that is there and not null."""
        found = next((key for key in keys if self.has(key)), None)
        return None if found is None else self._child(found)

    def need(self, *keys: str) -> "Node":
        """The first of these fields that is there and not null.

        Raises:
            InvalidRecordError: There is none; the message names the line and the field.
        """
        if not isinstance(self.value, dict):
            raise self.fail(f"must be an object with {keys[0]!r}, not {self.kind}")
        found = self.get(*keys)
        if found is None:
            raise self._child(keys[0], value=None).fail("is missing", at=self)
        return found

    def elements(self) -> "list[Node]":
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.fail(f"must be a list, not {self.kind}")
        return [Node(value, (*self.path, i), self.document, self.line) for i, value in enumerate(self.value)]

    def fields(self) -> "Iterator[tuple[str, Node]]":
        """The fields of an object."""
        if not isinstance(self.value, dict):
            raise self.fail(f"must be an object, not {self.kind}")
        for key in self.value:
            yield key, self._child(key)

    def text(self) -> str:
        """The text."""
        if not isinstance(self.value, str):
            raise self.fail(f"must be a text, not {self.kind}")
        return self.value

    def label(self, *keys: str) -> str | None:
        """The first of these fields, a text or a whole number, as a text: what files use for identities."""
        found = self.get(*keys)
        if found is None:
            return None
        if isinstance(found.value, bool) or not isinstance(found.value, str | int):
            raise found.fail(f"must be a text or a whole number, not {found.kind}")
        return str(found.value)

    def time(self, *keys: str) -> datetime | None:
        """The time that the first of these fields states: ISO 8601 with an offset, or seconds since 1970."""
        found = self.get(*keys)
        return None if found is None else found._time()

    def _time(self) -> datetime:
        value = self.value
        try:
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is None:
                    raise self.fail(f"has no time zone: {value!r}; add one, for instance {value}+00:00")
                return moment.astimezone(UTC)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS_FROM else value, UTC)
        except (ValueError, OverflowError, OSError):
            raise self.fail(f"is not a time: {value!r}") from None
        raise self.fail(f"must be a time, not {self.kind}")

    def fail(self, problem: str, *, at: "Node | None" = None, remedy: str = _REMEDY) -> InvalidRecordError:
        """An error that names the line and the field, to be raised."""
        where = at or self
        return self.document.fail(f"{self.name} {problem}.", remedy, path=where.path, line=self.line)

    def _child(self, key: str, **replaced: Any) -> "Node":
        value = replaced["value"] if replaced else self.value[key]
        return Node(value, (*self.path, key), self.document, self.line)


def _keys_of(value: dict[str, Any]) -> str:
    names = [repr(key[:40]) for key in list(value)[:6]]
    if not names:
        return "an empty object"
    more = f" and {len(value) - len(names)} more" if len(value) > len(names) else ""
    return f"an object with {', '.join(names)}{more}"
