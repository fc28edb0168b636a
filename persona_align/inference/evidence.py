"""What one record says about each dimension, and whether it says anything of its author at all. No language model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import SPLITTING, Encoder, Encoding
from persona_align.inference.comparison import comparison_evidence
from persona_align.inference.dimensions import open_dimensions
from persona_align.inference.expressiveness import open_expressiveness, turn_numbers
from persona_align.inference.head import open_head, statement_key
from persona_align.inference.poles import Match, Poles, built_in
from persona_align.inference.stance import Stance, stance
from persona_align.inference.units import own_units
from persona_align.preferences import PreferenceSpace
from persona_align.records import Comparison, Description, Record, Summary, Turn

__all__ = ["COLUMNS", "EvidenceScorer"]

Floats = NDArray[np.float32]
Numbers = dict[str, NDArray[Any]]

CODE = 7
"""Raised when the way of scoring changes: records scored by another version are scored again from their numbers."""
COLUMNS = ("dimension", "value", "weight", "claim", "shift")
"""The first columns of `evidence`; behind them comes a sketch of what the claim is about. `claim` is its number within
the text, -1 without text; below it, in a summary, the row stands for -1 - `claim` claims of the same weight."""
SKETCH = 32
MAX_CLAIMS = 24
"""Of one text, so many claims are kept: those that speak most clearly of its author."""
MAX_DIMENSIONS = 12
"""One claim speaks of at most so many dimensions."""
_MEANT = 0.02
"""A dimension may be meant from this probability on; a claim weighs as much as it is probable to mean its pole."""
_SELF = 0.4
"""A claim is about its author from this probability on."""


class EvidenceScorer:
    """Reads evidence out of encoded records. Safe to use from several threads.

    Args:
        encoder: Gave the encodings.
        space: The dimensions; own ones need nothing but their statements.

    Example:
        >>> from persona_align.encoder import open_encoder
        >>> from persona_align.preferences import ALIGNX
        >>> scorer = EvidenceScorer(open_encoder(), ALIGNX)
        >>> turn = Turn(role="user", text="Please keep your answers short.")
        >>> numbers = scorer.score(turn, scorer.encoder.encode(turn.texts))
        >>> ALIGNX.keys[int(numbers["evidence"][0, 0])], float(numbers["evidence"][0, 1]) > 0
        ('conciseness', True)
    """

    def __init__(self, encoder: Encoder, space: PreferenceSpace) -> None:
        self.encoder = encoder
        self.space = space
        self._head = open_head(encoder)
        self._expressiveness = open_expressiveness(encoder)
        self._reader = open_dimensions(encoder)
        read = {key: i for i, key in enumerate(self._reader.keys)} if self._reader else {}
        built = [i for i, each in enumerate(space) if each.key in read and built_in(each)]
        self._built = np.array(built, dtype=np.int64)
        self._is_built = np.isin(np.arange(len(space)), built)
        self._read = np.array([read[space.keys[i]] for i in built], dtype=np.int64)
        self._poles = Poles(self._head, encoder, space)
        reader = self._reader.fingerprint if self._reader else ""
        parts = (
            f"{CODE}/{SPLITTING}/{encoder.fingerprint}/{self._head.fingerprint}/{reader}/{self._expressiveness.version}"
        )
        self._reading = np.array([statement_key(parts)], dtype=np.uint64)
        self.version = f"{statement_key(f'{parts}/{space.fingerprint}'):016x}"

    def score(self, record: Record, encodings: Sequence[Encoding]) -> Numbers:
        """The numbers to keep beside a record.

        Args:
            record: A record.
            encodings: Of its texts, in order; empty where it has none or is not the user's own.

        Returns:
            `evidence`, float32 [m, columns]; `claims`, float16 [c, features], `subject`, float16 [c, 2] (about its
            author; about somebody else), `said`, float16 [c, 2, dimensions], and `stance`, float16 [c, 4], from which
            another space can be scored; `reading`, which heads read them; and `expressiveness` and `sentence_content`
            for retrieval. Empty where the record says nothing.
        """
        if isinstance(record, Comparison) and len(encodings) == len(record.texts):
            return {"evidence": self._columns(*comparison_evidence(record, self.space), None, None)}
        if not isinstance(record, Turn | Description) or not record.user_authored or not encodings:
            return {}
        encoding = encodings[0]
        claims = self._claims(record.texts[0], encoding)
        kept = {**turn_numbers(encoding, self._expressiveness), **claims, "reading": self._reading}
        return {**kept, **self._evidence(record, claims)}

    def rescore(self, record: Record, numbers: Mapping[str, NDArray[Any]]) -> Numbers:
        """The numbers for this scorer's space, from those kept by one of the same encoder.

        What was read by other heads, or by another version of them, is encoded and read again.
        """
        kept = dict(numbers)
        if isinstance(record, Summary):
            return {**kept, "evidence": _of_summary(record, kept["summed"], self.space)}
        if isinstance(record, Comparison):
            return {**kept, "evidence": self._columns(*comparison_evidence(record, self.space), None, None)}
        if "claims" not in kept:
            return kept
        if not np.array_equal(kept.get("reading", ()), self._reading):
            return self.score(record, self.encoder.encode(record.texts))
        return {**kept, **self._evidence(record, kept)}

    def _claims(self, text: str, encoding: Encoding) -> Numbers:
        units = own_units(text, encoding.sentences)
        if not units:
            return {
                "claims": np.zeros((0, self._poles.width), np.float16),
                "subject": np.zeros((0, 2), np.float16),
                "said": np.zeros((0, 2, len(self._reader.keys) if self._reader else 0), np.float16),
                "stance": np.zeros((0, 4), np.float16),
            }
        texts = [unit.text for unit in units]
        layers = np.stack([encoding.sentence_layers[list(unit.sentences)].mean(0) for unit in units])
        points, subject = self._head.read(layers, texts)
        said = np.zeros((len(points), 2, 0), dtype=np.float32)
        if self._reader is not None:
            tokens = [np.concatenate([encoding.sentence_tokens[i] for i in unit.sentences]) for unit in units]
            read = self._reader.read(tokens, texts)
            said, subject = np.stack([read.said, read.side], 1), read.subject
        stances = np.array([_numbers_of(stance(each)) for each in texts], dtype=np.float32)
        kept = np.sort(np.argsort(-subject[:, :2].sum(1), kind="stable")[:MAX_CLAIMS])
        return {
            "claims": points[kept].astype(np.float16),
            "subject": subject[kept, :2].astype(np.float16),
            "said": said[kept].astype(np.float16),
            "stance": stances[kept].astype(np.float16),
        }

    def _evidence(self, record: Record, numbers: Mapping[str, NDArray[Any]]) -> Numbers:
        points = numbers["claims"].astype(np.float32)
        subject = numbers["subject"].astype(np.float32)
        open_, strength, shift = numbers["stance"].astype(np.float32)[:, :3].T
        # What is told of somebody else rather than of the author is not the author's.
        mine = np.where(subject[:, 0] >= subject[:, 1], subject[:, 0], 0.0)
        about = subject.sum(1) if isinstance(record, Description) else mine
        match = self._poles.match(points)
        value, meant = match.value.copy(), match.meant * about[:, None]
        meant[about < _SELF] *= self._is_built  # of these, the reader knows better
        if self._reader is not None and len(points):
            at = self._built
            said, side = numbers["said"].astype(np.float32)[:, :, self._read].transpose(1, 0, 2)
            near = Match(value[:, at], meant[:, at])
            meant[:, at], high = self._reader.weigh(said * about[:, None], side, near)
            value[:, at] = 2 * high - 1
        weight = meant * np.abs(value)
        rank = np.argsort(np.argsort(-weight, axis=1, kind="stable"), axis=1, kind="stable")
        said = (
            (np.where(self._is_built, weight, match.meant) >= _MEANT) & (rank < MAX_DIMENSIONS) & (open_ < 0.5)[:, None]
        )
        claim, dimension = np.nonzero(said)
        return {
            "evidence": self._columns(
                dimension, value[said] * strength[claim], weight[said], claim, shift[claim], points[claim]
            )
        }

    def _columns(
        self, dimension: Any, value: Any, weight: Any, claim: Any, shift: Any, points: Floats | None = None
    ) -> Floats:
        rows = np.zeros((len(dimension), len(COLUMNS) + SKETCH), dtype=np.float32)
        rows[:, 0], rows[:, 1], rows[:, 2] = dimension, value, weight
        rows[:, 3] = -1.0 if claim is None else claim
        rows[:, 4] = 0.0 if shift is None else shift
        if points is not None and len(points):
            sketch = points[:, :SKETCH]
            rows[:, len(COLUMNS) :] = sketch / np.maximum(np.linalg.norm(sketch, axis=1, keepdims=True), 1e-6)
        return rows


def _numbers_of(read: Stance) -> tuple[float, float, float, float]:
    return float(read.open), read.strength, float(read.shift), float(read.flip)


def _of_summary(summary: Summary, summed: NDArray[Any], space: PreferenceSpace) -> Floats:
    """The `evidence` of a summary in a space: of its dimensions, those that the space has."""
    known = np.array([space.index(key) if key in space else -1 for key in summary.dimensions], dtype=np.int64)
    rows = np.array(summed, dtype=np.float32)
    if len(rows):
        rows[:, 0] = known[rows[:, 0].astype(np.int64)]
    return rows[rows[:, 0] >= 0]
