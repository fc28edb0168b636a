"""The records that say something about the user and matter for this prompt.

Questions look alike; what tells a turn with a preference apart is that it *says something about its author*. So the
likeness of the query to the record, and to its sentences, is joined by how expressive each sentence is, which was
scored when it was recorded. Search is exact.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from persona_align.memory.store import History

from persona_align.records import Record, Turn

__all__ = ["Retrieved", "retrieve"]

Floats = NDArray[np.float32]

EXPRESSIVE = 0.5
"""What a sentence that surely expresses a preference is worth, in units of cosine similarity."""
RECENT = 0.01
"""What the newest record is worth against the oldest: it decides between equals."""
REPEAT = 0.97
"""Of records that are more alike than this, the best one is returned first and the others only after all else."""


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """A record and how much it matters for the query; higher is better, 1.0 is a strong match."""

    record: Record
    score: float


def retrieve(
    history: "History", query: Floats, k: int = 5, *, exclude: Collection[str] = (), query_text: str = ""
) -> list[Retrieved]:
    """The user-authored records that matter most for a query, best first.

    Args:
        history: One user's records.
        query: Shape [d], unit length: the content embedding of the query.
        k: How many at most.
        exclude: Ids of records to leave out, such as the query itself.
        query_text: A record with exactly this text is the query repeated, and comes after everything else.
    """
    left_out = frozenset(exclude)
    rows = [
        row
        for row, entry in enumerate(history.entries)
        if entry.record.id not in left_out and _is_evidence(entry.record)
    ]
    if k < 1 or not rows:
        return []
    embeddings = history.embeddings[rows]
    whole = embeddings @ query
    scores = np.array(
        [_score(float(whole[i]), history.entries[row].numbers, query) for i, row in enumerate(rows)], dtype=np.float32
    )
    scores += RECENT * np.linspace(0.0, 1.0, len(rows), dtype=np.float32)
    repeated = query_text.strip()
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], -i))
    if repeated:
        order.sort(key=lambda i: repeated in {text.strip() for text in history.entries[rows[i]].record.texts})
    return [
        Retrieved(record=history.entries[rows[i]].record, score=float(scores[i]))
        for i in _diverse(order, embeddings, k)
    ]


def _is_evidence(record: Record) -> bool:
    if isinstance(record, Turn):
        return record.role == "user"
    return record.user_authored and bool(record.texts)


def _score(whole: float, numbers: Mapping[str, np.ndarray], query: Floats) -> float:
    """Half the record's likeness and half its best sentence's, where a sentence counts as far as it is expressive."""
    expressive = np.atleast_1d(np.asarray(numbers.get("expressiveness", 0.0), dtype=np.float32))
    sentences = numbers.get("sentence_content")
    if sentences is None or sentences.ndim != 2 or sentences.shape[1:] != query.shape:
        return whole + EXPRESSIVE * float(expressive.max(initial=0.0))
    likeness = sentences.astype(np.float32) @ query
    if len(expressive) != len(likeness):
        expressive = np.full(len(likeness), expressive.max(initial=0.0), dtype=np.float32)
    return 0.5 * whole + float((0.5 * likeness + EXPRESSIVE * expressive).max(initial=0.0))


def _diverse(order: list[int], embeddings: Floats, k: int) -> list[int]:
    """The first k of an order in which repetitions of a better record are moved to the end."""
    kept: list[int] = []
    repeats: list[int] = []
    for i in order:
        if len(kept) == k:
            break
        if kept and float((embeddings[kept] @ embeddings[i]).max()) > REPEAT:
            repeats.append(i)
        else:
            kept.append(i)
    return (kept + repeats)[:k]
