"""Questionnaire statements: those of a file that the caller names, or our own."""

import csv
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from persona_align.errors import PersonaAlignError

__all__ = ["FACETS", "TRAITS", "Statement", "read_answers", "read_statements"]

TRAITS = "OCEAN"
FACETS: tuple[str, ...] = tuple(f"{trait}{number}" for trait in TRAITS for number in range(1, 7))
_COLUMNS = ("item", "sign", "facet_key", "text")


@dataclass(frozen=True)
class Statement:
    """A statement with the facet that agreeing with it speaks for (sign 1) or against (sign -1)."""

    number: int
    text: str
    facet: str
    sign: int
    split: str


def read_statements(path: Path | None = None) -> list[Statement]:
    """The statements of a CSV file with the columns item, sign, facet_key and text, or our own without a path.

    Raises:
        PersonaAlignError: The file cannot be read, lacks a column, or a line holds something else; says which.
    """
    if path is None:
        text = files("persona_align.demo").joinpath("texts", "statements.csv").read_text(encoding="utf-8")
        name = "the built-in statements"
    else:
        text, name = _read(path), str(path)
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise PersonaAlignError(
            f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            f"A statements file has the columns {', '.join(_COLUMNS)} and, if you like, split.",
        )
    return [_statement(row, f"{name}, line {line}") for line, row in enumerate(reader, 2)]


def read_answers(path: Path, statements: list[Statement]) -> list[list[int]]:
    """Trait-scored answers of real people, 1 to 5 and 0 where missing, [people][statements]; columns i1, i2 ..."""
    reader = csv.DictReader(_read(path).splitlines())
    wanted = [f"i{statement.number}" for statement in statements]
    missing = [column for column in wanted if column not in (reader.fieldnames or ())]
    if missing:
        raise PersonaAlignError(
            f"{path} lacks {len(missing)} answer columns, the first is {missing[0]}.",
            "An answers file has one column i1, i2 … for each statement's item number.",
        )
    return [[int(float(row[column] or 0)) for column in wanted] for row in reader]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PersonaAlignError(f"{path} cannot be read: {error}.", "Name a CSV file in UTF-8.") from error


def _statement(row: dict[str, str], where: str) -> Statement:
    if row["sign"] not in ("+", "-"):
        raise PersonaAlignError(f"{where}: sign is {row['sign']!r}.", "It must be + or -.")
    if row["facet_key"] not in FACETS:
        raise PersonaAlignError(f"{where}: facet_key is {row['facet_key']!r}.", "It must be O1 to N6.")
    if not (row["item"] or "").isdigit() or not (row["text"] or "").strip():
        raise PersonaAlignError(f"{where}: item or text is empty.", "Give an item number and a text.")
    sign = 1 if row["sign"] == "+" else -1
    return Statement(int(row["item"]), row["text"].strip(), row["facet_key"], sign, row.get("split") or "train")
