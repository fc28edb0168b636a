"""Messages of one conversation, turned into records that are the same each time the file is read."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any, Literal, TypeVar

from persona_align.errors import InvalidRecordError
from persona_align.formats.node import Node
from persona_align.records import Comparison, Description, Turn

__all__ = ["FileRecord", "Message", "Role", "content_text", "digest", "known_role", "made", "turns"]

Role = Literal["user", "assistant", "system", "tool"]
FileRecord = Turn | Comparison | Description
R = TypeVar("R", Turn, Comparison, Description)
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a file, before it is a record.

    Args:
        node: Where it stands.
        role: Who wrote it.
        text: What it says; nothing, where it holds only calls, images or other things without text.
        id: Its identity in the file.
        at: When it was written.
    """

    node: Node
    role: Role
    text: str
    id: str | None = None
    at: datetime | None = None


def turns(messages: Iterable[Message], *, thread: str | None = None, began: datetime | None = None) -> Iterator[Turn]:
    """The turns of one conversation, streamed; messages without text are left out.

    Identity comes from the conversation, the message's own id or place, its role and its text, so a file that is read
    twice, or again after the conversation went on, gives the same records.

    Args:
        messages: In order.
        thread: The conversation's own id; without one, its first two messages stand for it.
        began: The conversation's time, for messages that have none; they keep their order.
    """
    stream = iter(messages)
    opening = list(islice(stream, 2))
    if thread is None:
        thread = "file-" + digest(*((message.role, message.text) for message in opening))
    for position, message in enumerate(chain(opening, stream)):
        if not message.text.strip():
            continue
        at = message.at or (began + timedelta(microseconds=position) if began else None)
        key = position if message.id is None else message.id
        yield made(
            Turn,
            message.node,
            role=message.role,
            text=message.text,
            at=at,
            thread_id=thread,
            id=digest(thread, key, message.role, message.text),
        )


def made(kind: type[R], node: Node, **fields: Any) -> R:
    """A record; what is wrong with it is told with its place in the file."""
    try:
        return kind(**fields)
    except InvalidRecordError as error:
        problem = error.message.removeprefix(f"{kind.__name__} is not valid: ").removesuffix(".")
        raise node.fail(f"cannot be recorded: {problem}") from None


def known_role(node: Node, roles: Mapping[str, Role]) -> Role:
    """The role that a name stands for."""
    name = node.text()
    try:
        return roles[name.lower()]
    except KeyError:
        raise node.fail(f"is the unknown role {name!r}; known are {', '.join(sorted(roles))}") from None


def content_text(node: Node) -> str:
    """The text of a content that is a text or a list of parts; images and other parts have none."""
    if isinstance(node.value, str):
        return node.value
    if not isinstance(node.value, list):
        raise node.fail(f"must be a text or a list of parts, not {node.kind}")
    texts = []
    for part in node.elements():
        if isinstance(part.value, str):
            texts.append(part.value)
        elif part.need("type").value in _TEXT_PARTS:
            texts.append(part.need("text", "refusal").text())
    return "\n".join(texts)


def digest(*parts: Any) -> str:
    """A short stable name for values."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
