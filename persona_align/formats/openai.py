"""OpenAI's chat messages: a list of them, one to a line, or objects that hold one; also its preference pairs.

Understood: `[{"role", "content"}, …]`; `{"messages": […]}` and `{"conversation": […]}` with an optional id and time;
content as text or as parts; `{"input", "preferred_output", "non_preferred_output"}`, which is a comparison.
"""

from collections.abc import Iterator

from persona_align.formats.conversation import (
    FileRecord,
    Message,
    Role,
    content_text,
    known_role,
    made,
    turns,
)
from persona_align.formats.node import Node
from persona_align.records import Comparison

__all__ = ["is_message", "message", "recognises", "records"]

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_WITHOUT_TEXT = ("tool_calls", "function_call", "refusal", "audio")


def is_message(node: Node) -> bool:
    """Whether a value is one message."""
    return node.has("role") and isinstance(node.value["role"], str)


def recognises(node: Node) -> bool:
    """Whether a value is a conversation in this format."""
    if node.has("preferred_output"):
        return True
    held = node.get("messages", "conversation")
    if held is None or not isinstance(held.value, list):
        return False
    return not held.value or is_message(held.elements()[0])


def records(node: Node) -> Iterator[FileRecord]:
    """The records of one conversation."""
    if isinstance(node.value, list):
        yield from turns(message(element) for element in node.elements())
    elif node.has("preferred_output"):
        yield _pair(node)
    else:
        held = node.need("messages", "conversation")
        yield from turns(
            (message(element) for element in held.elements()),
            thread=node.label("thread_id", "conversation_id", "conversation_hash", "id"),
            began=node.time("created_at", "create_time", "timestamp"),
        )


def message(node: Node) -> Message:
    """One message."""
    role = known_role(node.need("role"), _ROLES)
    silent = any(node.has(key) for key in _WITHOUT_TEXT)
    content = node.get("content") if silent else node.need("content")
    text = content_text(content) if content else ""
    if role == "user" and content and isinstance(content.value, str) and not text.strip():
        raise content.fail("is empty")
    at = node.time("created_at", "create_time", "timestamp", "at")
    return Message(node=content or node, role=role, text=text, id=node.label("id"), at=at)


def _pair(node: Node) -> Comparison:
    prompt = node.need("input").need("messages").elements()
    fields = {
        "prompt": "\n".join(m.text for m in map(message, prompt) if m.role == "user" and m.text),
        "chosen": _reply(node.need("preferred_output")),
        "rejected": _reply(node.need("non_preferred_output")),
    }
    return made(Comparison, node, **fields)


def _reply(node: Node) -> str:
    return "\n".join(m.text for m in map(message, node.elements()) if m.text)
