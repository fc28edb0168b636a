"""The facade: record what users do, read what they prefer, align what a model answers them.

The flow, top to bottom: a record is encoded once, scored once (inference) and kept (memory). A user's vector is a pure
fold over what is kept. `wrap` puts all of it around a model.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from persona_align.encoder import Encoder, Encoding, open_encoder
from persona_align.errors import InvalidRecordError, PersonaAlignError, require_user
from persona_align.export import export_user, import_user
from persona_align.inference import (
    EvidenceScorer,
    Posterior,
    Posteriors,
    Taste,
    Topics,
    comparison_numbers,
    fold,
    summarise,
)
from persona_align.memory import Entry, History, Memory, Receipt, Retrieved, retrieve
from persona_align.preferences import ALIGNX, PreferenceSpace, PreferenceVector
from persona_align.records import Comparison, Correction, Record

if TYPE_CHECKING:
    from persona_align.runnable import AlignedRunnable

__all__ = ["Evidence", "PersonaAligner", "Ranked", "Similar"]


class Evidence(NamedTuple):
    """A record that moved a dimension; the weight is signed: positive towards the high pole."""

    record: Record
    weight: float


class Ranked(NamedTuple):
    """A candidate reply with its score; higher is better for this user."""

    text: str
    score: float


class Similar(NamedTuple):
    """Another user and the cosine of the two confident vectors."""

    user_id: str
    score: float


class PersonaAligner:
    """What is known of users, and how replies are aligned with it. Open one with `PersonaAligner.open`.

    Safe to use from several threads. Use it as a context manager, or call `close`.

    Example:
        >>> from persona_align import PersonaAligner, Turn
        >>> with PersonaAligner.open() as aligner:
        ...     ids = aligner.record("ada", Turn(role="user", text="Please keep your answers short and to the point."))
        ...     aligner.preferences("ada")["conciseness"].value > 0
        True
    """

    def __init__(
        self,
        memory: Memory,
        encoder: Encoder,
        space: PreferenceSpace,
        *,
        similar: bool = False,
        enable: Collection[str] = (),
        disable: Collection[str] = (),
    ) -> None:
        self.memory = memory
        self.encoder = encoder
        self.space = space
        self._scorer = EvidenceScorer(encoder, space)
        self._topics: Topics | None = None
        self._similar = similar
        self._enabled = space.select(enable)
        self._disabled = space.select(disable)
        self._posteriors = Posteriors(space, self._enabled, self._disabled)
        memory.summarise = _summariser(self._scorer, self._enabled, self._disabled)

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        encoder: Any = None,
        space: PreferenceSpace = ALIGNX,
        similar: bool = False,
        retention: timedelta | None = None,
        max_records: int | None = None,
        enable: Collection[str] = (),
        disable: Collection[str] = (),
    ) -> Self:
        """An aligner over a memory.

        Args:
            path: None is private to this instance and gone with it; a folder is embedded Chroma; "http://host:port" is
                a Chroma server.
            encoder: A sentence-transformers name, path or object; None is the bundled all-MiniLM-L6-v2.
            space: What can be preferred.
            similar: Whether users may be compared with each other.
            retention: Records older than this are out of use at once, and erased by `sweep`.
            max_records: The most records kept of one user; the oldest go first, in batches, and what they said stays in
                the vector as a summary without text.
            enable: Sensitive dimensions to switch on, by key or family.
            disable: Dimensions to switch off, by key or family.

        Raises:
            EncoderUnavailableError: The encoder cannot be loaded.
            IncompatibleStoreError: The memory was made with another encoder or a newer version.
            StoreUnavailableError: The memory cannot be reached, or another process has it open.
            UnknownDimensionError: `enable` or `disable` names no dimension or family.
        """
        space.select((*enable, *disable))
        opened = open_encoder(encoder)
        memory = Memory.open(
            path,
            encoder=opened.fingerprint,
            dimension=opened.dimension,
            space=space.fingerprint,
            retention=retention,
            max_records=max_records,
        )
        return cls(memory, opened, space, similar=similar, enable=enable, disable=disable)

    def close(self) -> None:
        """Release locks, files and threads; closing twice is fine."""
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """One line for notebooks; it tells nothing of any user."""
        space, encoder = escape(self.space.name), escape(self.encoder.fingerprint)
        return f"<p>PersonaAligner: {len(self.space)} dimensions ({space}), encoder {encoder}</p>"

    # Recording

    def record(self, user_id: str, *records: Record) -> list[str]:
        """Keep what a user did; on disk when this returns.

        Args:
            user_id: Whose records these are.
            records: Turns, comparisons and descriptions. One that is already kept is not encoded again.

        Returns:
            The records' ids, in order.

        Raises:
            MissingUserError: The user is missing or empty.
            InvalidRecordError: Something is not a record; nothing was kept.
            StoreUnavailableError: It could not be written; nothing was kept.
        """
        require_user(user_id)
        for record in records:
            if not isinstance(record, Record):
                raise InvalidRecordError(
                    f"{type(record).__name__} is not a record.", "Give Turn, Comparison or Description objects."
                )
        known = self.memory.known(user_id, [record.id for record in records])
        fresh = {record.id: record for record in records if record.id not in known}
        if fresh:
            self.memory.append(user_id, self.entries(list(fresh.values())))
        return [record.id for record in records]

    def correct(self, user_id: str, dimension: str, value: float) -> None:
        """Set a dimension by hand and lock it against inference, until `release`.

        Raises:
            InvalidRecordError: The value is not in [-1, 1].
            UnknownDimensionError: There is no such dimension.
        """
        self.space.index(dimension)
        self._append_correction(user_id, Correction(dimension=dimension, action="lock", value=value, at=_now()))

    def release(self, user_id: str, dimension: str) -> None:
        """Give a locked dimension back to inference."""
        self.space.index(dimension)
        self._append_correction(user_id, Correction(dimension=dimension, action="release", at=_now()))

    # Reading

    def preferences(self, user_id: str) -> PreferenceVector:
        """The user's vector; an unknown user abstains on every dimension."""
        return self.posterior(user_id).vector

    def explain(self, user_id: str, dimension: str) -> list[Evidence]:
        """The records that moved a dimension, the strongest first, with signed weights.

        Raises:
            UnknownDimensionError: There is no such dimension.
        """
        self.space.index(dimension)
        history = self.memory.history(require_user(user_id))
        by_id = {entry.record.id: entry.record for entry in (*history.earlier, *history.entries)}
        found = self._fold(user_id, history).contributions(dimension)
        moved = [Evidence(by_id[record_id], float(weight)) for record_id, weight in found if record_id in by_id]
        return sorted(moved, key=lambda evidence: -abs(evidence.weight))

    def posterior(self, user_id: str) -> Posterior:
        """The vector with what stands behind it: contributions and dated earlier values."""
        return self._fold(user_id, self.memory.history(require_user(user_id)))

    def retrieve(self, user_id: str, query: str, k: int = 5) -> list[Retrieved]:
        """The user-authored records that matter for a query, best first."""
        require_user(user_id)
        history = self.memory.history(user_id)
        if k < 1 or not history.entries or not query.strip():
            return []
        return retrieve(history, self.encode(query).content, k, query_text=query)

    def rank(self, user_id: str, prompt: str, candidates: Sequence[str]) -> list[Ranked]:
        """Candidate replies, best for this user first; while nothing is known, in their order with scores 0.0."""
        require_user(user_id)
        scores = self._tastes(user_id, prompt, candidates)
        order = sorted(range(len(candidates)), key=lambda i: (-scores[i], i))
        return [Ranked(candidates[i], float(scores[i])) for i in order]

    def has_taste(self, user_id: str) -> bool:
        """Whether there is anything to rank this user's candidates by."""
        return not self._taste(user_id).abstains

    def similar(self, user_id: str, k: int = 5) -> list[Similar]:
        """The users with the nearest vectors; only where opened with `similar=True`.

        Raises:
            PersonaAlignError: The aligner was opened without `similar=True`.
        """
        require_user(user_id)
        if not self._similar:
            raise PersonaAlignError(
                "Users are not compared with each other unless that is switched on.",
                "Open the aligner with similar=True.",
            )
        mine = _weights(self.preferences(user_id))
        found = []
        for other in self.memory.users():
            if other != user_id:
                theirs = _weights(self.preferences(other))
                scale = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
                if scale > 0:
                    found.append(Similar(other, float(mine @ theirs) / scale))
        return sorted(found, key=lambda each: (-each.score, each.user_id))[: max(k, 0)]

    def group(self, user_ids: Sequence[str]) -> PreferenceVector:
        """The vector of a group: means weighted by confidence, which falls where its members disagree."""
        vectors = [self.preferences(user_id) for user_id in user_ids]
        if not vectors:
            return PreferenceVector.unknown(self.space)
        values = np.stack([vector.values for vector in vectors])
        confidence = np.stack([vector.confidence for vector in vectors])
        total = confidence.sum(0)
        mean = np.divide((values * confidence).sum(0), total, out=np.zeros(len(self.space)), where=total > 0)
        spread = np.divide((confidence * (values - mean) ** 2).sum(0), total, out=np.zeros_like(mean), where=total > 0)
        shared = confidence.mean(0) * np.clip(1 - np.sqrt(spread), 0, 1)
        return PreferenceVector(
            space=self.space,
            values=np.where(shared > 0, np.clip(mean, -1, 1), 0.0),
            confidence=shared,
            support=np.stack([vector.support for vector in vectors]).sum(0),
        )

    # Rights of the person

    def forget(
        self, user_id: str, *, before: datetime | None = None, record_ids: Sequence[str] | None = None
    ) -> Receipt:
        """Erase a person, or some of their records, from every byte on disk and from the caches.

        Args:
            user_id: Who is forgotten.
            before: Only records older than this (with a time zone).
            record_ids: Only these records.

        Returns:
            What was erased and verified, and what lies out of reach and how to clear it.
        """
        require_user(user_id)
        try:
            return self.memory.forget(user_id, before=before, record_ids=record_ids)
        finally:
            self._posteriors.drop(user_id)

    def sweep(self) -> int:
        """Erase, as `forget` does, what `retention` and `max_records` no longer let be kept: call it daily.

        Returns:
            How many records were erased.
        """
        try:
            return self.memory.sweep()
        finally:
            self._posteriors.clear()

    def export(self, user_id: str) -> dict[str, Any]:
        """Everything held about a person, ready for JSON; an unknown user's records are empty."""
        require_user(user_id)
        vector = self.preferences(user_id)
        return export_user(user_id, self.memory.everything(user_id), vector, encoder=self.encoder.fingerprint)

    def restore(self, data: Mapping[str, Any]) -> list[str]:
        """Keep what `export` gave, under the same user; the vector is then exactly the same.

        Raises:
            InvalidRecordError: The data is not an export, or of a newer format; nothing was kept.
        """
        user_id, records, entries = import_user(
            data, encoder=self.encoder.fingerprint, version=self._scorer.version, dimension=self.encoder.dimension
        )
        require_user(user_id)
        ready = {entry.record.id for entry in entries}
        entries += self.entries([record for record in records if record.id not in ready])
        if entries:
            self.memory.append(user_id, entries)
        return [record.id for record in records]

    # Aligning

    def wrap(
        self,
        model: Any,
        mode: str = "auto",
        *,
        basis: Any = None,
        strength: float = 1.0,
        k: int = 5,
        max_prompt_tokens: int = 512,
        template: str = "default",
        candidates: int = 4,
        count_tokens: Any = None,
        record: bool = True,
        seed: int | None = None,
    ) -> "AlignedRunnable":
        """A model whose replies are aligned with the user in the config, as a LangChain runnable.

        Args:
            model: A chat model, or a runnable around one (`bind`, `with_retry`).
            mode: "auto" (PAS with a short line of PBA where the model can be steered, else PBA), "ica", "pba", "pas",
                "rerank" or "off".
            basis: A SteeringBasis for the model; the bundled model has its own.
            strength: Of the offsets, in multiples of the basis's calibrated default; 0 is exactly off. "auto"
                steers at half of it, beside the words.
            k: The most records that ICA shows.
            max_prompt_tokens: The most tokens that conditioning may add to the prompt.
            template: "default" for any instruct model, "alignxpert" for AlignX's checkpoints.
            candidates: How many replies "rerank" chooses from.
            count_tokens: Counts the tokens of a text; by default as the model does, or an estimate on the safe side.
            record: Whether the user's messages and the replies are recorded.
            seed: The first seed of "rerank"'s candidates.

        Raises:
            UnsupportedModeError: The mode cannot work with this model; the message names those that can.
        """
        from persona_align.flow import AlignedFlow
        from persona_align.runnable import AlignedRunnable

        flow = AlignedFlow.of(
            self,
            model,
            mode,
            basis=basis,
            strength=strength,
            k=k,
            max_prompt_tokens=max_prompt_tokens,
            template=template,
            candidates=candidates,
            count_tokens=count_tokens,
            record=record,
            seed=seed,
        )
        return AlignedRunnable(model=model, flow=flow, announced=flow.announced)

    def encode(self, text: str) -> Encoding:
        """One text, encoded."""
        return self.encoder.encode([text])[0]

    def topics(self, content: Any) -> frozenset[str]:
        """The topic dimensions that a text concerns, by its content embedding of shape [d]."""
        if self._topics is None:
            self._topics = Topics(self.encoder, self.space)
        return self._topics.relevant(content)

    def entries(self, records: Sequence[Record]) -> list[Entry]:
        """Records encoded and scored, ready for memory; only what the user wrote is encoded."""
        texts = [text for record in records if record.user_authored for text in record.texts]
        encodings = iter(self.encoder.encode(texts) if texts else [])
        entries = []
        for record in records:
            own = [next(encodings) for _ in record.texts] if record.user_authored else []
            numbers = dict(self._scorer.score(record, own))
            if isinstance(record, Comparison):
                numbers |= comparison_numbers(*own)
            entries.append(
                Entry(
                    record=record,
                    embedding=own[0].content if own else np.zeros(self.encoder.dimension, dtype=np.float32),
                    numbers=numbers,
                    version=self._scorer.version,
                )
            )
        return entries

    # Inside

    def _append_correction(self, user_id: str, correction: Correction) -> None:
        require_user(user_id)
        self.memory.append(user_id, self.entries([correction]))

    def _fold(self, user_id: str, history: History) -> Posterior:
        found = self._posteriors.get(user_id, history.revision)
        if found is None:
            history = self._current(user_id, history)
            found = self._posteriors.fold(user_id, history.revision, (*history.earlier, *history.entries))
        return found

    def _current(self, user_id: str, history: History) -> History:
        """The history with every record scored by this scorer: another space is recomputed, without encoding again."""
        entries = (*history.earlier, *history.entries)
        stale = {
            entry.record.id: (self._scorer.rescore(entry.record, entry.numbers), self._scorer.version)
            for entry in entries[self._posteriors.known(user_id, entries) :]
            if entry.version != self._scorer.version
        }
        if not stale:
            return history
        self.memory.replace_numbers(user_id, stale)
        return self.memory.history(user_id)

    def _taste(self, user_id: str) -> Taste:
        history = self._current(user_id, self.memory.history(require_user(user_id)))
        return Taste.fit(
            [entry.numbers for entry in history.entries if isinstance(entry.record, Comparison)],
            encoder=self.encoder,
        )

    def _tastes(self, user_id: str, prompt: str, candidates: Sequence[str]) -> Any:
        taste = self._taste(user_id)
        if taste.abstains or len(candidates) < 2:
            return np.zeros(len(candidates))
        asked, *replies = self.encoder.encode([prompt, *candidates])
        return taste.scores(asked, replies)


def _summariser(
    scorer: EvidenceScorer, enabled: Collection[str], disabled: Collection[str]
) -> Callable[[Sequence[Entry], Sequence[Entry]], Entry]:
    """What makes, of records beyond the cap, the entry that memory keeps, so that the vector stays as it is."""

    def of(dropped: Sequence[Entry], kept: Sequence[Entry]) -> Entry:
        scored = []
        for entry in (*dropped, *kept):
            current = entry.version == scorer.version
            scored.append((entry.record, entry.numbers if current else scorer.rescore(entry.record, entry.numbers)))
        posterior = fold(scored, scorer.space, enabled, disabled)
        summary, numbers = summarise([entry.record for entry in dropped], posterior)
        return Entry(
            record=summary,
            embedding=np.zeros(scorer.encoder.dimension, dtype=np.float32),
            numbers=scorer.rescore(summary, numbers),
            version=scorer.version,
        )

    return of


def _now() -> datetime:
    return datetime.now(UTC)


def _weights(vector: PreferenceVector) -> Any:
    return np.where(vector.confidence >= vector.space.floor, vector.values * vector.confidence, 0.0)
