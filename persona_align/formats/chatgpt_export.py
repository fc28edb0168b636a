"""ChatGPT's data export: the `conversations.json` in the zip that it mails, or the zip itself.

Each conversation is a tree. The branch that the user is on is read. Where the user had a reply written again and went
on from one of the versions, the one kept and each one left behind make a comparison. Custom instructions are the
user's own words too. What was never shown (hidden, empty, drafts of tools) is left out.
"""

from collections.abc import Iterator
from itertools import pairwise

from persona_align.formats.conversation import FileRecord, Message, Role, digest, known_role, made, turns
from persona_align.formats.node import Node
from persona_align.records import Comparison, Description, Turn

__all__ = ["is_message", "message", "recognises", "records"]

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "critic": "system",
    "function": "tool",
}


def is_message(node: Node) -> bool:
    """Whether a value is one message: never, this format knows whole conversations."""
    del node
    return False


def recognises(node: Node) -> bool:
    """Whether a value is a conversation in this format."""
    return node.has("mapping") and isinstance(node.value["mapping"], dict)


def records(node: Node) -> Iterator[FileRecord]:
    """The records of one conversation."""
    nodes = dict(node.need("mapping").fields())
    branch = [nodes[name] for name in _branch(node, nodes)]
    yield from _instructions(branch)
    shown = [(entry, shown) for entry in branch if (shown := message(entry))]
    yield from turns((shown for _, shown in shown), thread=node.label("conversation_id", "id"))
    for (before, asked), (entry, kept) in pairwise(shown):
        went_on = shown[-1][0] is not entry
        if asked.role == "user" and kept.role == "assistant" and went_on:
            yield from _regenerated(nodes, before, asked, entry, kept)


def message(entry: Node) -> Message | None:
    """The message of one node of the tree; None where there is nothing that was shown."""
    held = entry.get("message")
    if held is None:
        return None
    role = known_role(held.need("author").need("role"), _ROLES)
    metadata = held.get("metadata")
    content = held.get("content")
    if content is None or (metadata and metadata.has("is_visually_hidden_from_conversation")):
        return None
    text = _text(content) if role in ("user", "assistant") else ""
    if not text.strip() or (held.has("recipient") and held.value["recipient"] != "all"):
        return None
    return Message(node=content, role=role, text=text, id=held.label("id"), at=held.time("create_time"))


def _text(content: Node) -> str:
    if content.value.get("content_type") not in ("text", "multimodal_text"):
        return ""
    return "\n".join(part.value for part in content.need("parts").elements() if isinstance(part.value, str))


def _branch(node: Node, nodes: dict[str, Node]) -> list[str]:
    """The names from the root to the message that the user was at last."""
    current = node.get("current_node")
    if current is None:
        return _newest_branch(node, nodes)
    path: list[str] = []
    name: str | None = current.text()
    while name is not None:
        if name not in nodes:
            raise current.fail(f"leads to {name!r}, which is not in the mapping; the conversation is not complete")
        if name in path:
            raise current.fail(f"leads in a circle through {name!r}")
        path.append(name)
        parent = nodes[name].get("parent")
        name = parent.text() if parent else None
    return path[::-1]


def _newest_branch(node: Node, nodes: dict[str, Node]) -> list[str]:
    name = next((name for name, entry in nodes.items() if not entry.has("parent")), None)
    path: list[str] = []
    while name is not None and name in nodes and name not in path:
        path.append(name)
        children = _children(nodes[name])
        name = children[-1] if children else None
    if nodes and not path:
        raise node.need("mapping").fail("has no first message")
    return path


def _children(entry: Node) -> list[str]:
    children = entry.get("children")
    return [child.text() for child in children.elements()] if children else []


def _regenerated(
    nodes: dict[str, Node], before: Node, asked: Message, entry: Node, kept: Message
) -> Iterator[Comparison]:
    for name in _children(before):
        other = message(nodes[name]) if name in nodes and nodes[name].value is not entry.value else None
        if other and other.role == "assistant" and other.text != kept.text:
            yield made(
                Comparison,
                other.node,
                prompt=asked.text,
                chosen=kept.text,
                rejected=other.text,
                at=kept.at,
                id=digest("regenerated", kept.id, other.id, kept.text, other.text),
            )


def _instructions(branch: list[Node]) -> Iterator[FileRecord]:
    """The custom instructions in force: who the user says they are, and how they want to be answered."""
    for entry in branch:
        held = entry.get("message")
        metadata = held and held.get("metadata")
        context = metadata and metadata.get("user_context_message_data")
        for key, role in (("about_user_message", None), ("about_model_message", "user")):
            said = context and context.get(key)
            if not said or not said.text().strip():
                continue
            fields = {"text": said.text(), "id": digest(key, said.text())}
            if role is None:
                yield made(Description, said, **fields)
            else:
                yield made(Turn, said, role=role, **fields)
