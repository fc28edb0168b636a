"""The prompts that AlignX's own checkpoints, AlignXpert-ICA and AlignXpert-PBA, were trained on.

These checkpoints know one system text and one turn, so a prompt in this template is those two messages: the caller's
system prompt and the conversation before the last human message are left out.

Source: AlignX (arXiv 2503.15463) and its release; the layouts are theirs.
"""

from collections.abc import Sequence

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from persona_align.conditioning.budget import CountTokens, fitting
from persona_align.conditioning.messages import message_text
from persona_align.preferences import PreferenceVector, Reading
from persona_align.records import Comparison, Description, Record, Turn

__all__ = ["alignxpert_ica", "alignxpert_pba", "profile_readings"]

_ICA_SYSTEM = "Generate a task-specific response based on user historical behavior and preferences."
_PBA_SYSTEM = "Generate a task-specific response based on user preferences."
_COMMENTED = "**This person has commented on some posts:**\n\n"
_COMPARED = "**This person has chosen or rejected comments on some posts:**\n\n"


def alignxpert_ica(
    messages: Sequence[BaseMessage], records: Sequence[Record], *, max_tokens: int, count_tokens: CountTokens
) -> list[BaseMessage]:
    """The ICA checkpoint's prompt: numbered comments, numbered pairs, the description."""
    by_number = {str(i): record for i, record in enumerate(records)}
    kept = fitting(list(by_number), lambda chosen: _history([by_number[i] for i in chosen]), max_tokens, count_tokens)
    section = _history([records[i] for i in kept])
    if not kept:
        return list(messages)
    return _prompt(messages, _ICA_SYSTEM, "Historical Behavior and User Preferences", section)


def alignxpert_pba(
    messages: Sequence[BaseMessage],
    vector: PreferenceVector,
    usable: Sequence[Reading],
    *,
    max_tokens: int,
    count_tokens: CountTokens,
) -> list[BaseMessage]:
    """The PBA checkpoint's prompt: the names of the poles, joined with commas, in the order of the space."""
    readings = profile_readings(vector, usable)
    kept = fitting([r.pole for r in readings], ", ".join, max_tokens, count_tokens)
    if not kept:
        return list(messages)
    order = sorted(kept, key=lambda i: vector.space.index(readings[i].key))
    return _prompt(messages, _PBA_SYSTEM, "User Preferences", ", ".join(readings[i].pole for i in order))


def profile_readings(vector: PreferenceVector, usable: Sequence[Reading]) -> list[Reading]:
    """The readings that AlignX would name: those beyond its thresholds, or else the most extreme one.

    Source: AlignX's release, profile construction.
    """
    directions = dict(zip(vector.space.keys, vector.directions(), strict=True))
    beyond = [reading for reading in usable if directions[reading.key] != 0.5]
    if beyond or not usable:
        return beyond
    return [usable[int(np.argmax([abs(reading.value) for reading in usable]))]]


def _history(records: Sequence[Record]) -> str:
    turns = [record for record in records if isinstance(record, Turn)]
    pairs = [record for record in records if isinstance(record, Comparison)]
    described = [record.text for record in records if isinstance(record, Description)]
    comments = "".join(f"{i}. *Post:*\n\n\n*Comment:*\n{turn.text}\n\n" for i, turn in enumerate(turns, 1))
    compared = "".join(
        f"{i}. *Post:*\n{pair.prompt}\n\n*Chosen:*\n{pair.chosen}\n\n*Rejected:*\n{pair.rejected}\n\n"
        for i, pair in enumerate(pairs, 1)
    )
    return (_COMMENTED + comments if turns else "") + (_COMPARED + compared if pairs else "") + "\n".join(described)


def _prompt(messages: Sequence[BaseMessage], system: str, title: str, section: str) -> list[BaseMessage]:
    asked = next((message for message in reversed(messages) if isinstance(message, HumanMessage)), None)
    if asked is None:
        return list(messages)
    task = f"***Task***\n\n**Post:**\n{message_text(asked)}\n\n***{title}***\n\n{section}\n\n***Response:***\n\n"
    return [SystemMessage(system), asked.model_copy(update={"content": task})]
