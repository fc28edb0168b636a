"""The records that say something about the user and matter for this prompt.

Questions look alike; what tells a turn with a preference apart is that it *says something about its author*. So the
likeness of the query to the best sentence of a record is joined by how expressive that sentence is, which was scored
when it was recorded. Search is exact.
"""

from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from persona_align.memory.entry import Entry
from persona_align.memory.history import History
from persona_align.records import Record, Turn

__all__ = ["Retrieved", "retrieve"]

Floats = NDArray[np.float32]

EXPRESSIVE = 0.5
"""What a sentence that surely says something about its author is worth, in units of cosine similarity."""
RECENT = 0.01
"""What the newest record is worth against the oldest: it decides between equals."""
REPEAT = 0.97
"""Of records that are more alike than this, the best one is returned first and the others only after all else."""
_WORTH_KEEPING = 256
"""From so many entries on, the stacked sentences are kept as long as the history is."""


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """A record and how much it matters for the query; higher is better, 1.5 is a strong match."""

    record: Record
    score: float


def retrieve(
    history: History, query: Floats, k: int = 5, *, exclude: Collection[str] = (), query_text: str = ""
) -> list[Retrieved]:
    """The user-authored records that matter most for a query, best first.

    Args:
        history: One user's records.
        query: Shape [d], unit length: the content embedding of the query.
        k: How many at most.
        exclude: Ids of records to leave out, such as the query itself.
        query_text: A record with exactly this text is the query repeated, and comes after everything else.
    """
    if k < 1 or not history.entries:
        return []
    index = _index(history)
    scores = index.scores(query)
    left_out = frozenset(exclude)
    repeated = query_text.strip()
    order: list[int] = []
    last: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        record = history.entries[index.rows[i]].record
        if record.id not in left_out:
            is_query = bool(repeated) and any(text.strip() == repeated for text in record.texts)
            (last if is_query else order).append(int(i))
    chosen = _diverse(order + last, history.embeddings[index.rows], k)
    return [Retrieved(record=history.entries[index.rows[i]].record, score=float(scores[i])) for i in chosen]


@dataclass(frozen=True, eq=False)
class _Index:
    """The evidence of a history, newest first, with all its sentences stacked.

    The root of a probability tells "perhaps" from "no" better than "perhaps" from "surely", which is what matters here.
    """

    rows: NDArray[np.intp]
    sentences: Floats
    owners: NDArray[np.intp]
    expressive: Floats

    def scores(self, query: Floats) -> Floats:
        """Shape [rows]."""
        best = np.full(len(self.rows), -np.inf, dtype=np.float32)
        np.maximum.at(best, self.owners, self.sentences @ query + self.expressive)
        recency = RECENT * (1.0 - np.arange(len(self.rows)) / max(len(self.rows), 2))
        return np.asarray(best + recency, dtype=np.float32)


_kept: "WeakKeyDictionary[History, _Index]" = WeakKeyDictionary()
_lock = Lock()


def _index(history: History) -> _Index:
    with _lock:
        found = _kept.get(history)
    if found is None:
        found = _stack(history)
        if len(history.entries) >= _WORTH_KEEPING:
            with _lock:
                _kept[history] = found
    return found


def _stack(history: History) -> _Index:
    rows = [row for row in range(len(history.entries) - 1, -1, -1) if _is_evidence(history.entries[row].record)]
    read = [_sentences(history.entries[row]) for row in rows]
    sentences = [vectors for vectors, _ in read]
    dimension = history.embeddings.shape[1]
    return _Index(
        rows=np.array(rows, dtype=np.intp),
        sentences=np.concatenate(sentences) if sentences else np.zeros((0, dimension), np.float32),
        owners=np.repeat(np.arange(len(rows)), [len(vectors) for vectors in sentences]).astype(np.intp),
        expressive=EXPRESSIVE
        * np.sqrt(np.concatenate([scores for _, scores in read]) if read else np.zeros(0, np.float32)),
    )


def _is_evidence(record: Record) -> bool:
    if isinstance(record, Turn):
        return record.role == "user"
    return record.user_authored and bool(record.texts)


def _sentences(entry: Entry) -> tuple[Floats, Floats]:
    """The vectors of a record's sentences and how expressive each is; without any, the record is one sentence."""
    given = np.asarray(entry.numbers.get("expressiveness", 0.0), dtype=np.float32)
    expressive = np.clip(np.atleast_1d(given), 0.0, 1.0)
    vectors = entry.numbers.get("sentence_content")
    if vectors is None or vectors.ndim != 2 or vectors.shape[1] != len(entry.embedding) or not len(vectors):
        return entry.embedding[None], expressive.max(initial=0.0, keepdims=True)
    if len(expressive) != len(vectors):
        expressive = np.full(len(vectors), expressive.max(initial=0.0), dtype=np.float32)
    return vectors.astype(np.float32), expressive


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
