"""The words around a persona in a prompt: versioned, because models are trained on them."""

__all__ = ["LAYOUT_VERSION", "earlier_messages_block", "preferences_block", "with_block"]

LAYOUT_VERSION = 1

_PREFERENCES = "[Preferences of the person asking. Let them shape the answer; do not mention them.]"
_EARLIER = "[Earlier messages of the person asking. Let what they show shape the answer; do not mention them.]"
_MESSAGE = "[Message]"


def preferences_block(lines: list[str]) -> str:
    """The PBA block: one line per preference, strongest first.

    Example:
        >>> print(preferences_block(["Concise communication style (strongly)"]))
        [Preferences of the person asking. Let them shape the answer; do not mention them.]
        - Concise communication style (strongly)
    """
    return "\n".join([_PREFERENCES, *(f"- {line}" for line in lines)])


def earlier_messages_block(lines: list[str]) -> str:
    """The ICA block: one line per record, oldest first."""
    return "\n".join([_EARLIER, *(f"- {line}" for line in lines)])


def with_block(block: str, message: str) -> str:
    """A block in front of the message it belongs to.

    The block goes into the last human message, so that the system prompt and the conversation before it stay the
    same from user to user and their cached prefix stays valid.
    """
    return f"{block}\n\n{_MESSAGE}\n{message}"
