"""Chat messages as token ids, for models with and without a chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CHAT_TEMPLATE", "PLAIN_TEXT", "layout_of", "rendered", "token_ids"]

CHAT_TEMPLATE = "chat template"
PLAIN_TEXT = "plain text"


def layout_of(tokenizer: Any) -> str:
    """How messages reach the model: through its "chat template", or as "plain text" where it has none."""
    return CHAT_TEMPLATE if getattr(tokenizer, "chat_template", None) else PLAIN_TEXT


def rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """The text of a chat up to where the model's next reply begins.

    A model without a chat template reads `User: …` and `Assistant: …` lines.
    """
    if layout_of(tokenizer) == CHAT_TEMPLATE:
        chat = [dict(message) for message in messages]
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    lines = [f"{message['role'].capitalize()}: {message['content']}\n" for message in messages]
    return f"{tokenizer.bos_token or ''}{''.join(lines)}Assistant: "


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a rendered text; the special tokens are already in it."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
