"""Finding and replacing the message that a persona is put in front of."""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

from persona_align.conditioning.layouts import with_block

__all__ = ["message_text", "new_human_messages", "put_before_last_human"]


def message_text(message: BaseMessage) -> str:
    """The text of a message, whether its content is a string or a list of blocks."""
    content = message.content
    if isinstance(content, str):
        return content
    parts = [block if isinstance(block, str) else block.get("text", "") for block in content]
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def new_human_messages(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """The human messages behind the last AI message: what the user has said since the last reply."""
    new: list[HumanMessage] = []
    for message in reversed(messages):
        if message.type == "ai":
            break
        if isinstance(message, HumanMessage):
            new.append(message)
    return new[::-1]


def put_before_last_human(messages: Sequence[BaseMessage], block: str) -> list[BaseMessage]:
    """New messages with a block in front of the last human message; those given are not changed.

    Everything before that message stays as it is, so its cached prefix stays valid.
    """
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, HumanMessage):
            if isinstance(message.content, str):
                content: str | list[str | dict[str, object]] = with_block(block, message.content)
            else:
                content = [{"type": "text", "text": with_block(block, "")}, *message.content]
            changed = message.model_copy(update={"content": content})
            return [*messages[:position], changed, *messages[position + 1 :]]
    return list(messages)
