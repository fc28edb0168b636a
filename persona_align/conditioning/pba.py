"""Preference-bridged alignment: the vector, put into words.

Source: AlignX (arXiv 2503.15463), preference-bridged alignment (PBA).
"""

from collections.abc import Callable, Mapping, Sequence

from langchain_core.messages import BaseMessage

from persona_align.conditioning.alignxpert import alignxpert_pba
from persona_align.conditioning.budget import CountTokens, approximate_tokens, fitting
from persona_align.conditioning.ica import check_template
from persona_align.conditioning.layouts import preferences_block
from persona_align.conditioning.messages import put_before_last_human
from persona_align.preferences import PreferenceVector, Reading

__all__ = ["pba", "pba_line", "usable_readings"]

STRONG = 0.6
"""From this |value| on, a line says "strongly"."""


def pba(
    messages: Sequence[BaseMessage],
    vector: PreferenceVector,
    *,
    relevant: Callable[[str], bool] = lambda _: False,
    evidence: Mapping[str, str] | None = None,
    max_lines: int = 8,
    max_tokens: int = 512,
    count_tokens: CountTokens = approximate_tokens,
    template: str = "default",
) -> list[BaseMessage]:
    """The messages with a user's preferences in words in front of the last human message.

    Args:
        messages: The prompt; it is not changed. Without a human message it is returned as it is.
        vector: The user's preferences; readings under the space's confidence floor are left out.
        relevant: Whether the prompt concerns a topic dimension, by key; topics that it does not concern are left out.
        evidence: For open-valued dimensions, the sentence that says what is liked; without it they are left out.
        max_lines: The most preferences named.
        max_tokens: The most tokens that the added block may have.
        count_tokens: Counts the tokens of a text.
        template: "default" for any instruct model, "alignxpert" for AlignX's own PBA checkpoints.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> said = pba([HumanMessage("What shall I cook?")], PreferenceVector.of({"conciseness": 0.9}))
        >>> print(said[0].content)
        [Preferences of the person asking. Let them shape the answer; do not mention them.]
        - Concise communication style (strongly)
        <BLANKLINE>
        [Message]
        What shall I cook?
    """
    check_template(template)
    evidence = evidence or {}
    readings = usable_readings(vector, relevant=relevant, evidence=evidence)[:max_lines]
    if template == "alignxpert":
        return alignxpert_pba(messages, vector, readings, max_tokens=max_tokens, count_tokens=count_tokens)
    lines = [pba_line(reading, evidence) for reading in readings]
    kept = fitting(lines, preferences_block, max_tokens, count_tokens)
    if not kept:
        return list(messages)
    return put_before_last_human(messages, preferences_block([lines[i] for i in kept]))


def usable_readings(
    vector: PreferenceVector,
    *,
    relevant: Callable[[str], bool] = lambda _: False,
    evidence: Mapping[str, str] | None = None,
) -> list[Reading]:
    """The readings that may shape a reply to this prompt, strongest first."""
    return [
        reading
        for reading in vector.confident()
        if reading.dimension.usable(reading.value)
        and (reading.dimension.scope == "style" or relevant(reading.key))
        and (not reading.dimension.open_valued or reading.key in (evidence or {}))
    ]


def pba_line(reading: Reading, evidence: Mapping[str, str] | None = None) -> str:
    """One reading as one line of the default template."""
    if reading.dimension.open_valued:
        return f'{reading.pole}: "{" ".join((evidence or {})[reading.key].split())}"'
    return f"{reading.pole} (strongly)" if abs(reading.value) >= STRONG else reading.pole
