"""Cases in AlignX's format: a user's history, and one pair of replies held back to test on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_align.errors import InvalidRecordError
from persona_align.records import Comparison, Description, Record, Turn

__all__ = ["Case", "read_cases"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test: which of two replies to a prompt would this user prefer?

    Args:
        prompt: What was asked.
        chosen: The reply that the user preferred.
        rejected: The other one.
        comparisons: Earlier choices of the same user.
        records: The whole history: a description, comments and the comparisons.
        persona: A label of the user, where the data has one; never shown to a ranker.
        profile: The user's preferences in words, where the data has them; never shown to a ranker.
    """

    prompt: str
    chosen: str
    rejected: str
    comparisons: tuple[Comparison, ...]
    records: tuple[Record, ...]
    persona: str = ""
    profile: str = ""


def read_cases(path: Path) -> list[Case]:
    """The cases of a file: a JSON list, or one JSON object a line.

    Raises:
        InvalidRecordError: The file is not in this format; the message names the case.
    """
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
        cases = [_case(data) for data in found]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRecordError(
            f"{path} does not hold cases in AlignX's format: {type(error).__name__} {error}.",
            "Give a JSON list, or JSON lines, of objects with prompt, chosen and rejected.",
        ) from error
    if not cases:
        raise InvalidRecordError(f"{path} holds no cases.", "Give a file with at least one.")
    return cases


def _case(data: Mapping[str, Any]) -> Case:
    pairs = tuple(
        Comparison(prompt=_text(pair["prompt"]), chosen=_text(pair["chosen"]), rejected=_text(pair["rejected"]))
        for pair in data.get("Pair-wise Comparative Feedback") or ()
    )
    said = tuple(Turn(role="user", text=_text(item["comment"])) for item in data.get("User-Generated Content") or ())
    about = _text(data.get("Demographic Information") or "")
    described = (Description(text=about),) if about.strip() else ()
    return Case(
        prompt=_text(data["prompt"]),
        chosen=_text(data["chosen"]),
        rejected=_text(data["rejected"]),
        comparisons=pairs,
        records=(*described, *said, *pairs),
        persona=str(data.get("ground_truth_persona") or ""),
        profile=str(data.get("profile") or ""),
    )


def _text(value: Any) -> str:
    """A text, or the last message of a list of messages."""
    return str(value[-1]["content"]) if isinstance(value, list) else str(value)
