"""The PAPI answers: 300 statements, answered on a five-point scale by real people, read with the right keying."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import InvalidRecordError

__all__ = ["TRAITS", "Items", "People", "check_keying", "load_items", "load_people", "stream_people"]

Floats = NDArray[np.float64]
TRAITS = "OCEAN"
_ITEM_COLUMNS = ("item", "sign", "facet_key", "facet", "text", "split")
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Items:
    """The statements of the questionnaire, in the order of their numbers.

    Attributes:
        numbers: The number of each statement, [items].
        texts: What it says.
        signs: +1 where agreement means more of the trait, -1 where it means less (reverse-keyed), [items].
        facets: Its facet, for example "N1".
        train: True for the statements that a person is fitted on, False for those that are predicted, [items].
    """

    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    signs: NDArray[np.int64]
    facets: tuple[str, ...]
    train: NDArray[np.bool_]

    @property
    def traits(self) -> NDArray[np.int64]:
        """The position of each statement's trait in "OCEAN", [items]."""
        return np.array([TRAITS.index(facet[0]) for facet in self.facets])

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class People:
    """Answer sheets.

    Attributes:
        cases: An identifier per person.
        sexes: 1 for male, 2 for female, 0 for unknown, [people].
        ages: In years, NaN unknown, [people].
        agreement: How far each person agrees with each statement as it is worded, 1 to 5, NaN missing, [people, items].
    """

    cases: tuple[str, ...]
    sexes: NDArray[np.int64]
    ages: Floats
    agreement: Floats

    def __len__(self) -> int:
        return len(self.cases)

    def select(self, rows: NDArray[np.intp] | Sequence[int]) -> "People":
        """Some of the people, in the order of `rows`."""
        rows = np.asarray(rows, dtype=np.intp)
        return People(tuple(self.cases[k] for k in rows), self.sexes[rows], self.ages[rows], self.agreement[rows])


def load_items(path: str | Path) -> Items:
    """Read the item key.

    Args:
        path: A CSV file with the columns item, sign, facet_key, facet, text and split ("train" or "test").

    Raises:
        InvalidRecordError: A column is missing or a line cannot be read; the message says which.
    """
    path = Path(path)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _ITEM_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise InvalidRecordError(
                f"{path} lacks the columns {', '.join(missing)}.", f"It must have {', '.join(_ITEM_COLUMNS)}."
            )
        rows = list(reader)
    for line, row in enumerate(rows, start=2):
        facet = row["facet_key"] or ""
        if row["sign"] not in ("+", "-") or row["split"] not in ("train", "test") or facet[:1] not in set(TRAITS):
            raise InvalidRecordError(
                f"{path}, line {line}: cannot read {dict(row)}.",
                'The sign is "+" or "-", the split "train" or "test", and a facet key begins with one of OCEAN.',
            )
    rows.sort(key=lambda row: int(row["item"]))
    return Items(
        numbers=tuple(int(row["item"]) for row in rows),
        texts=tuple(row["text"] for row in rows),
        signs=np.array([1 if row["sign"] == "+" else -1 for row in rows]),
        facets=tuple(row["facet_key"] for row in rows),
        train=np.array([row["split"] == "train" for row in rows]),
    )


def load_people(path: str | Path, items: Items, *, check: bool = True) -> People:
    """Read a whole table of answers.

    Args:
        path: A CSV file with the columns case, sex, age and i1 to i300, or the published JSON array of objects with
            the same names. Values are trait scores as published: reverse-keyed answers are already reversed, 0 is
            missing.
        items: The item key.
        check: Refuse a table whose reverse-keyed answers look as if they were not reversed.

    Raises:
        InvalidRecordError: A field is missing, a value is out of range, or the keying is wrong.
    """
    blocks = list(stream_people(path, items))
    if not blocks:
        raise InvalidRecordError(f"{path} holds no people.", "It needs one row per person.")
    people = People(
        cases=tuple(case for block in blocks for case in block.cases),
        sexes=np.concatenate([block.sexes for block in blocks]),
        ages=np.concatenate([block.ages for block in blocks]),
        agreement=np.concatenate([block.agreement for block in blocks]),
    )
    if check:
        check_keying(people.agreement, items)
    return people


def stream_people(path: str | Path, items: Items, *, block: int = 1024) -> Iterator[People]:
    """Read a table of any length, `block` people at a time; see `load_people` for the formats."""
    path = Path(path)
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    waiting: list[tuple[str, int, float, Floats]] = []
    for number, row in rows:
        waiting.append(_person(path, number, row, items))
        if len(waiting) == block:
            yield _people(waiting)
            waiting = []
    if waiting:
        yield _people(waiting)


def check_keying(agreement: Floats, items: Items) -> None:
    """Refuse answers in which opposite-keyed statements of a trait agree with each other.

    A person who agrees with "Worry about things." tends to disagree with "Relax most of the time.": taken as raw
    agreement, sums over the plainly and the reversely keyed statements of a trait correlate negatively. Where they
    correlate positively, the table holds raw answers that were reversed once too often, or not at all.

    Args:
        agreement: Raw agreement, 1 to 5, NaN missing, [people, items].
        items: The item key.

    Raises:
        InvalidRecordError: The correlation, averaged over the traits, is positive. With fewer than ten people nothing
            can be said, and nothing is refused.
    """
    if len(agreement) < 10:
        return
    correlations = []
    for trait in range(len(TRAITS)):
        halves = []
        for sign in (1, -1):
            columns = (items.traits == trait) & (items.signs == sign)
            halves.append(_row_means(agreement[:, columns]))
        known = ~np.isnan(halves[0]) & ~np.isnan(halves[1])
        if known.sum() >= 10 and halves[0][known].std() > 0 and halves[1][known].std() > 0:
            correlations.append(float(np.corrcoef(halves[0][known], halves[1][known])[0, 1]))
    if correlations and np.mean(correlations) > 0:
        raise InvalidRecordError(
            "Oppositely keyed statements of a trait go together in this table "
            f"(mean correlation {np.mean(correlations):+.2f}), which people do not do.",
            "Published PAPI values are trait scores: an answer to a reverse-keyed statement is stored as 6 minus the "
            "agreement. Give the table in that form; if yours holds raw agreement, reverse the statements with the "
            'sign "-" first.',
        )


def _row_means(values: Floats) -> Floats:
    known = (~np.isnan(values)).sum(axis=1)
    return np.where(known > 0, np.nansum(values, axis=1) / np.maximum(known, 1), np.nan)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from enumerate(csv.DictReader(file), start=2)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a JSON array, one by one: the whole file is never in memory."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as file:
        text, number = _filled(file, "").lstrip().removeprefix("["), 0
        while True:
            text = text.lstrip().removeprefix(",").lstrip()
            if text.startswith("]"):
                return
            try:
                row, end = decoder.raw_decode(text)
            except json.JSONDecodeError as error:
                longer = _filled(file, text)
                if len(longer) == len(text):
                    raise InvalidRecordError(
                        f"{path} breaks off after person {number}.", "Fetch the file again: it is truncated."
                    ) from error
                text = longer
                continue
            if not isinstance(row, dict):
                raise InvalidRecordError(
                    f"{path}, person {number + 1}: not an object but {type(row).__name__}.",
                    "The file must be an array of objects with case, sex, age and i1 to i300.",
                )
            number += 1
            yield number, row
            text = text[end:]


def _filled(file: io.TextIOBase, text: str) -> str:
    return text + file.read(_BLOCK)


def _person(path: Path, number: int, row: Mapping[str, Any], items: Items) -> tuple[str, int, float, Floats]:
    stored = np.empty(len(items))
    for k, item in enumerate(items.numbers):
        value = row.get(f"i{item}")
        if value is None and f"i{item}" not in row:
            raise InvalidRecordError(f"{path}, row {number}: there is no answer i{item}.", "Give every item a column.")
        try:
            stored[k] = float(value) if value not in (None, "") else 0.0
        except (TypeError, ValueError):
            stored[k] = -1.0
        if stored[k] not in (0, 1, 2, 3, 4, 5):
            raise InvalidRecordError(
                f"{path}, row {number}: i{item} is {value!r}.", "Answers are 1 to 5, and 0 or empty where missing."
            )
    agreement = np.where(stored == 0, np.nan, np.where(items.signs < 0, 6 - stored, stored))
    age = row.get("age")
    return (
        str(row.get("case", number)),
        int(row.get("sex") or 0),
        float(age) if age not in (None, "") else np.nan,
        agreement,
    )


def _people(rows: Sequence[tuple[str, int, float, Floats]]) -> People:
    cases, sexes, ages, agreement = zip(*rows, strict=True)
    return People(tuple(cases), np.array(sexes), np.array(ages), np.array(agreement))
