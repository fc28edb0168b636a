"""Two people to show the library with: what they said, and what they preferred."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["SampleHistory", "sample_histories"]


@dataclass(frozen=True)
class SampleHistory:
    """One person's history.

    Attributes:
        user: The user id.
        entries: Turns as {"role", "text", "at", "thread_id"} and comparisons as {"prompt", "chosen", "rejected", "at"}.
    """

    user: str
    entries: tuple[Mapping[str, Any], ...]


def sample_histories() -> dict[str, SampleHistory]:
    """The bundled histories by user id, "ada" and "ben", who like opposite things.

    Example:
        >>> sorted(sample_histories())
        ['ada', 'ben']
    """
    folder = files("persona_align.demo").joinpath("histories")
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            user = file.name.removesuffix(".json")
            found[user] = SampleHistory(user, tuple(json.loads(file.read_text(encoding="utf-8"))))
    return found
