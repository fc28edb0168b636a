"""LangChain messages, as `messages_to_dict`, `dumpd` or `model_dump` write them, alone or in a graph's state.

Understood: `{"type": "human", "data": {…}}`; `{"lc": 1, "kwargs": {…}}`; `{"type": "human", "content": …}`; and
`{"messages": […]}` or `{"messages": [[…]]}` of any of them, with an optional `thread_id`.
"""

from collections.abc import Iterator

from persona_align.formats.conversation import FileRecord, Message, Role, content_text, known_role, turns
from persona_align.formats.node import Node

__all__ = ["is_message", "message", "recognises", "records"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "humanmessage": "user",
    "humanmessagechunk": "user",
    "user": "user",
    "ai": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "assistant": "assistant",
    "system": "system",
    "systemmessage": "system",
    "developer": "system",
    "tool": "tool",
    "toolmessage": "tool",
    "function": "tool",
    "functionmessage": "tool",
}


def is_message(node: Node) -> bool:
    """Whether a value is one message."""
    if node.has("lc") and node.has("kwargs"):
        return True
    return node.has("type") and isinstance(node.value["type"], str) and (node.has("data") or "content" in node.value)


def recognises(node: Node) -> bool:
    """Whether a value is a conversation in this format."""
    held = node.get("messages")
    if held is None or not isinstance(held.value, list) or not held.value:
        return False
    first = held.elements()[0]
    return is_message(first) or (isinstance(first.value, list) and any(map(is_message, first.elements()[:1])))


def records(node: Node) -> Iterator[FileRecord]:
    """The records of one conversation."""
    if isinstance(node.value, list):
        yield from turns(message(element) for element in node.elements())
        return
    elements = node.need("messages").elements()
    if elements and isinstance(elements[0].value, list):
        elements = [element for inner in elements for element in inner.elements()]
    yield from turns((message(element) for element in elements), thread=node.label("thread_id", "session_id", "id"))


def message(node: Node) -> Message:
    """One message."""
    fields = node.get("data", "kwargs") or node
    role = _role(node, fields)
    content = fields.need("content")
    text = content_text(content)
    if role == "user" and isinstance(content.value, str) and not text.strip():
        raise content.fail("is empty")
    return Message(node=content, role=role, text=text, id=fields.label("id"))


def _role(node: Node, fields: Node) -> Role:
    spoken = fields.get("role")
    kind = node.get("type") if not node.has("lc") else None
    if node.has("lc"):
        path = node.need("id").elements()
        kind = fields.get("type") or (path[-1] if path else None)
    if kind is None:
        raise node.need("type").fail("is missing")
    if kind.value in ("chat", "ChatMessage", "ChatMessageChunk") and spoken:
        kind = spoken
    return known_role(kind, _ROLES)
