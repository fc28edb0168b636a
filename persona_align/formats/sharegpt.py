"""ShareGPT: `{"id", "conversations": [{"from": "human", "value": …}, …]}`."""

from collections.abc import Iterator

from persona_align.formats.conversation import FileRecord, Message, Role, known_role, turns
from persona_align.formats.node import Node

__all__ = ["is_message", "message", "recognises", "records"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "tool",
    "system": "system",
    "tool": "tool",
    "function_response": "tool",
    "observation": "tool",
}


def is_message(node: Node) -> bool:
    """Whether a value is one message."""
    return node.has("from") and "value" in node.value


def recognises(node: Node) -> bool:
    """Whether a value is a conversation in this format."""
    held = node.get("conversations")
    return held is not None and isinstance(held.value, list) and (not held.value or is_message(held.elements()[0]))


def records(node: Node) -> Iterator[FileRecord]:
    """The records of one conversation."""
    if isinstance(node.value, list):
        yield from turns(message(element) for element in node.elements())
        return
    system = node.get("system", "system_prompt")
    messages = [message(element) for element in node.need("conversations").elements()]
    if system and system.text().strip():
        messages.insert(0, Message(node=system, role="system", text=system.text()))
    yield from turns(messages, thread=node.label("id", "conversation_id"))


def message(node: Node) -> Message:
    """One message."""
    role = known_role(node.need("from"), _ROLES)
    value = node.need("value")
    text = value.text()
    if role == "user" and not text.strip():
        raise value.fail("is empty")
    return Message(node=value, role=role, text=text)
