"""One question of one user, with what is known of them and of what it concerns."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from persona_align.conditioning import usable_readings
from persona_align.memory import Entry, History, retrieve
from persona_align.preferences import PreferenceVector
from persona_align.records import Comparison, Description, Record, Turn

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner

__all__ = ["Asked"]

_RELEVANT = 0.3
"""The cosine to the question from which on a record is shown although it moved no usable dimension."""


class Asked:
    """One question of one user, with what is known of them and of what it concerns."""

    def __init__(self, aligner: "PersonaAligner", user_id: str, turn: Turn, own: frozenset[str]) -> None:
        self.aligner = aligner
        self.user_id = user_id
        self.turn = turn
        self.own = own
        self.vector = aligner.preferences(user_id)

    @cached_property
    def history(self) -> History:
        """Everything kept of the user."""
        return self.aligner.memory.history(self.user_id)

    @cached_property
    def content(self) -> Any:
        """The question's content embedding: kept with its record, else encoded now."""
        kept = next((entry for entry in reversed(self.history.entries) if entry.record.id == self.turn.id), None)
        return self.aligner.encode(self.turn.text).content if kept is None else kept.embedding

    @cached_property
    def topics(self) -> frozenset[str]:
        """The topic dimensions that the question concerns."""
        return self.aligner.topics(self.content)

    def relevant(self, key: str) -> bool:
        """Whether the question concerns a topic dimension."""
        return key in self.topics

    @cached_property
    def evidence(self) -> dict[str, str]:
        """For open-valued dimensions that the vector states, the sentence that says what is liked."""
        said = {}
        for reading in self.vector.confident():
            if reading.dimension.open_valued:
                sentences = [
                    moved.record.texts[0]
                    for moved in self.aligner.explain(self.user_id, reading.key)
                    if moved.weight * reading.value > 0 and moved.record.texts
                ]
                if sentences:
                    said[reading.key] = sentences[0]
        return said

    def steerable_vector(self) -> PreferenceVector:
        """The vector without the topics that the question does not concern."""
        known = {reading.key for reading in self.vector.confident()}  # only their relevance is worth an encoding
        off = np.array(
            [d.scope == "topic" and not (d.key in known and self.relevant(d.key)) for d in self.vector.space]
        )
        return self.vector.model_copy(
            update={
                name: np.where(off, 0.0, getattr(self.vector, name)) for name in ("values", "confidence", "support")
            }
        )

    def shown(self, k: int) -> list[Record]:
        """The records that ICA shows, best first: those that matter for the question, then for usable preferences."""
        if k < 1 or all(entry.record.id in self.own for entry in self.history.entries):
            return []
        near = retrieve(self.history, self.content, k, exclude=self.own, query_text=self.turn.text)
        entries = {entry.record.id: entry for entry in self.history.entries}
        chosen: dict[str, Record] = {
            found.record.id: found.record
            for found in near
            if _nearness(entries[found.record.id], self.content) >= _RELEVANT
        }
        for reading in usable_readings(self.vector, relevant=self.relevant, evidence=self.evidence):
            for moved in self.aligner.explain(self.user_id, reading.key)[:2]:
                if moved.record.id not in self.own and isinstance(moved.record, Turn | Comparison | Description):
                    chosen.setdefault(moved.record.id, moved.record)
        return list(chosen.values())[:k]

    def can_rank(self) -> bool:
        """Whether anything is known to rank candidates by."""
        return self.aligner.has_taste(self.user_id)

    def choose(self, texts: Sequence[str]) -> int:
        """The position of the best candidate; the first where nothing tells them apart."""
        best = self.aligner.rank(self.user_id, self.turn.text, texts)[0]
        return list(texts).index(best.text)


def _nearness(entry: Entry, content: Any) -> float:
    """The cosine of a text, or of its nearest sentence, to the question."""
    sentences = np.asarray(entry.numbers.get("sentence_content", ()), dtype=np.float32)
    whole = float(entry.embedding @ content)
    return max(whole, float((sentences @ content).max())) if sentences.size else whole
