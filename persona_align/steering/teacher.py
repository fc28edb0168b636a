"""What a model is taught with when it learns to do without a prompt: preferences told, and ordinary messages."""

from collections.abc import Sequence

__all__ = ["ORDINARY_MESSAGES", "told"]

_PREFERENCES = "[Preferences of the person asking. Let them shape the answer; do not mention them.]"
_MESSAGE = "[Message]"


def told(lines: Sequence[str], message: str) -> str:
    """A message with the asking person's preferences in front of it, in the wording of the PBA prompt.

    The stages of the library do not import each other, so the wording stands here again; a test holds the two equal.

    Example:
        >>> print(told(["Likes humor"], "Suggest a walk."))
        [Preferences of the person asking. Let them shape the answer; do not mention them.]
        - Likes humor
        <BLANKLINE>
        [Message]
        Suggest a walk.
    """
    return "\n".join([_PREFERENCES, *(f"- {line}" for line in lines), "", _MESSAGE, message])


ORDINARY_MESSAGES: tuple[str, ...] = (
    "What shall I cook tonight?",
    "Any ideas for my weekend?",
    "Can you suggest a workout for this week?",
    "I need a gift for a friend. What would you pick?",
    "How should I plan a short trip?",
    "Which book should I read next?",
    "What film would be good for tonight?",
    "How do I study for an exam in two weeks?",
    "How can I keep my spending under control this month?",
    "My dog is bored at home. What can I do?",
    "A colleague keeps interrupting me. How do I handle it?",
    "Which phone should I look at?",
    "How do I get better sleep?",
    "What could I do on a rainy afternoon?",
    "How do I start a small garden?",
    "I have guests coming on Saturday. Any advice?",
    "How should I prepare for a job interview?",
    "What is a good way to learn a language?",
    "I want to tidy my flat. Where do I start?",
    "Can you help me write a birthday message?",
    "How do I make a good cup of coffee?",
    "My neighbour is loud at night. What would you say to them?",
    "Is it worth cycling to work?",
    "What should I bring to a picnic?",
    "How do I get to know people in a new town?",
    "I feel tired in the afternoon. What helps?",
    "Tell me something about the sea.",
    "What makes a good team?",
    "How do I choose a new jacket?",
    "I would like a new hobby. What do you suggest?",
    "How do I deal with a long queue of emails?",
    "What is a simple breakfast?",
)
"""Everyday requests of our own, asked of the model with and without a preference told."""
