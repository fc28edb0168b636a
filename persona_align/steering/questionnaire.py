"""How a questionnaire statement is put to a model: versioned, because the bundled model is trained on it."""

from collections.abc import Sequence

__all__ = ["LETTERS", "QUESTIONNAIRE_VERSION", "answer_letter", "opening", "questionnaire"]

QUESTIONNAIRE_VERSION = 1
LETTERS = "ABCDE"
_SCALE = (
    "very inaccurate",
    "moderately inaccurate",
    "neither accurate nor inaccurate",
    "moderately accurate",
    "very accurate",
)


def answer_letter(agreement: int, *, reverse: bool = False) -> str:
    """The option letter of an agreement of 1 (very inaccurate) to 5 (very accurate).

    With `reverse` the letters run the other way, so that over both orders no letter stands for agreement.

    Example:
        >>> answer_letter(5), answer_letter(5, reverse=True)
        ('A', 'E')
    """
    if agreement not in range(1, 6):
        msg = f"agreement must be 1 to 5, not {agreement!r}"
        raise ValueError(msg)
    return LETTERS[agreement - 1] if reverse else LETTERS[5 - agreement]


def opening(*, reverse: bool = False) -> str:
    """The instruction and the legend of the five letters, which open a questionnaire."""
    legend = [f"{answer_letter(value, reverse=reverse)} = {_SCALE[value - 1]}" for value in range(1, 6)]
    return "\n".join(["How well does each statement describe you? Answer with one letter.", *sorted(legend)])


def questionnaire(
    statement: str,
    answered: Sequence[tuple[str, int]] = (),
    *,
    reverse: bool = False,
    persona: str = "",
) -> list[dict[str, str]]:
    """The chat that asks one statement, after those already answered.

    Args:
        statement: The statement to answer.
        answered: Earlier statements with their agreement, 1 to 5, as few-shot turns.
        reverse: Whether letter A stands for "very inaccurate".
        persona: A block put in front of the first message, for example a description of the person.

    Returns:
        Messages in the chat-template form, roles alternating, the last one from the user.

    Example:
        >>> questionnaire("Worry about things.")[-1]["content"].splitlines()[-1]
        'Statement: Worry about things.'
    """
    messages: list[dict[str, str]] = []
    head = "\n\n".join(part for part in (persona, opening(reverse=reverse)) if part)
    for text, agreement in answered:
        messages.append({"role": "user", "content": _ask(head, text)})
        messages.append({"role": "assistant", "content": answer_letter(agreement, reverse=reverse)})
        head = ""
    return [*messages, {"role": "user", "content": _ask(head, statement)}]


def _ask(head: str, statement: str) -> str:
    asked = f"Statement: {statement}"
    return f"{head}\n\n{asked}" if head else asked
