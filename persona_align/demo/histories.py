"""Two people to show the library with: what they said, and what they preferred."""

import json
from importlib.resources import files

from persona_align.records import Record, parse_record

__all__ = ["sample_histories"]


def sample_histories() -> dict[str, tuple[Record, ...]]:
    """The records of two people, "ada" and "ben", who like opposite things; oldest first, ready for `record`.

    Example:
        >>> from persona_align import PersonaAligner
        >>> with PersonaAligner.open() as aligner:
        ...     ids = aligner.record("ada", *sample_histories()["ada"])
        ...     aligner.preferences("ada").confident()[0].confidence > 0.2
        True
    """
    folder = files("persona_align.demo").joinpath("histories")
    found: dict[str, tuple[Record, ...]] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            entries = json.loads(file.read_text(encoding="utf-8"))
            found[file.name.removesuffix(".json")] = tuple(
                parse_record({"kind": "turn" if "role" in entry else "comparison", **entry}) for entry in entries
            )
    return found
