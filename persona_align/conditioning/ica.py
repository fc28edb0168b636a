"""In-context alignment: the records that matter, shown to the model.

Source: AlignX (arXiv 2503.15463), in-context alignment (ICA).
"""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from persona_align.conditioning.alignxpert import alignxpert_ica
from persona_align.conditioning.budget import CountTokens, approximate_tokens, fitting
from persona_align.conditioning.layouts import earlier_messages_block
from persona_align.conditioning.messages import put_before_last_human
from persona_align.errors import PersonaAlignError
from persona_align.records import Comparison, Description, Record, Turn

__all__ = ["TEMPLATES", "ica", "ica_line"]

TEMPLATES = ("default", "alignxpert")
_LONGEST = 320
"""Characters of one quoted text; the middle of a longer one is left out."""


def ica(
    messages: Sequence[BaseMessage],
    records: Sequence[Record],
    *,
    max_tokens: int = 512,
    count_tokens: CountTokens = approximate_tokens,
    template: str = "default",
) -> list[BaseMessage]:
    """The messages with a user's records in front of the last human message.

    Args:
        messages: The prompt; it is not changed. Without a human message it is returned as it is.
        records: Records of this user, the most useful first; where not all fit, the last ones are left out.
        max_tokens: The most tokens that the added block may have.
        count_tokens: Counts the tokens of a text.
        template: "default" for any instruct model, "alignxpert" for AlignX's own ICA checkpoints.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> shown = ica([HumanMessage("What shall I cook?")], [Turn(role="user", text="Keep it short, please.")])
        >>> print(shown[0].content)
        [Earlier messages of the person asking. Let what they show shape the answer; do not mention them.]
        - "Keep it short, please."
        <BLANKLINE>
        [Message]
        What shall I cook?
    """
    check_template(template)
    if template == "alignxpert":
        return alignxpert_ica(messages, records, max_tokens=max_tokens, count_tokens=count_tokens)
    lines = [ica_line(record) for record in records]
    kept = fitting(lines, earlier_messages_block, max_tokens, count_tokens)
    if not kept:
        return list(messages)
    return put_before_last_human(messages, earlier_messages_block([lines[i] for i in _by_time(records, kept)]))


def ica_line(record: Record) -> str:
    """One record as one line of the default template."""
    match record:
        case Turn(text=text):
            return f'"{_short(text)}"'
        case Comparison(prompt=prompt, chosen=chosen, rejected=rejected):
            return f'Asked "{_short(prompt)}", preferred "{_short(chosen)}" to "{_short(rejected)}"'
        case Description(text=text):
            return f"About them: {_short(text)}"
    msg = f"a {record.kind} record cannot be shown in a prompt"
    raise TypeError(msg)


def check_template(template: str) -> None:
    """Refuse a template that does not exist, naming those that do."""
    if template not in TEMPLATES:
        raise PersonaAlignError(f"There is no template {template!r}.", f"Use one of {', '.join(map(repr, TEMPLATES))}.")


def _by_time(records: Sequence[Record], kept: list[int]) -> list[int]:
    """Oldest first where all are dated, else in the order given."""
    if any(records[i].at is None for i in kept):
        return kept
    return sorted(kept, key=lambda i: (str(records[i].at), i))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    if len(flat) <= _LONGEST:
        return flat
    half = _LONGEST // 2
    return f"{flat[:half].rstrip()} … {flat[-half:].lstrip()}"
