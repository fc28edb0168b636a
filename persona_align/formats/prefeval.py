"""PrefEval's cases: a preference stated outright, revealed in a choice, or mentioned in passing.

Read is what the user said: the conversation where there is one, else the stated preference. The question, the
explanation and the persona belong to the test and are not recorded.
"""

from collections.abc import Iterator

from persona_align.formats.conversation import FileRecord, Message, Role, turns
from persona_align.formats.node import Node

__all__ = ["is_message", "recognises", "records"]

_CHOICE: tuple[tuple[str, Role], ...] = (
    ("query", "user"),
    ("assistant_options", "assistant"),
    ("user_selection", "user"),
    ("assistant_acknowledgment", "assistant"),
)


def is_message(node: Node) -> bool:
    """Whether a value is one message: never, this format knows whole cases."""
    del node
    return False


def recognises(node: Node) -> bool:
    """Whether a value is a case in this format."""
    if not node.has("preference"):
        return False
    return node.has("question") or isinstance(node.value.get("conversation"), dict)


def records(node: Node) -> Iterator[FileRecord]:
    """The records of what the user said in one case."""
    yield from turns(list(_messages(node)))


def _messages(node: Node) -> Iterator[Message]:
    conversation = node.get("conversation")
    if conversation is None:
        stated = node.need("preference")
        yield _said(stated, "user")
    elif conversation.has("query") or conversation.has("user_selection"):
        for key, role in _CHOICE:
            if role == "user" or conversation.has(key):
                yield _said(conversation.need(key), role)
    else:
        for exchange in _in_order(conversation):
            yield _said(exchange.need("user"), "user")
            reply = exchange.get("assistant")
            if reply:
                yield _said(reply, "assistant")


def _said(node: Node, role: Role) -> Message:
    text = node.text()
    if role == "user" and not text.strip():
        raise node.fail("is empty")
    return Message(node=node, role=role, text=text)


def _in_order(conversation: Node) -> list[Node]:
    if isinstance(conversation.value, list):
        return conversation.elements()
    numbered = []
    for key, exchange in conversation.fields():
        if not key.isdecimal():
            raise exchange.fail("must be numbered: the exchanges are called 0, 1, 2 and so on")
        numbered.append((int(key), exchange))
    return [exchange for _, exchange in sorted(numbered, key=lambda pair: pair[0])]
