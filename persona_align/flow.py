"""The alignment of one request: record, read, condition or steer, record the reply."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.messages import BaseMessage

from persona_align.conditioning import ica, message_text, new_human_messages, pba, usable_readings
from persona_align.errors import InvalidRecordError
from persona_align.modes import Resolved, resolve
from persona_align.preferences import PreferenceVector
from persona_align.records import Comparison, Description, Record, Turn
from persona_align.runnable import AlignedRunnable, Plan

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner

__all__ = ["AlignedFlow"]

logger = logging.getLogger("persona_align")

_RERANK_TEMPERATURE = 0.8
_SHORT_PBA_LINES = 3
_RELEVANT = 0.35
"""The retrieval score from which on a record is shown although it moved no usable dimension."""


@dataclass(frozen=True, kw_only=True)
class AlignedFlow:
    """The flow behind one wrapped model; see `PersonaAligner.wrap` for the arguments."""

    aligner: "PersonaAligner"
    resolved: Resolved
    strength: float
    k: int
    max_prompt_tokens: int
    template: str
    candidates: int
    count_tokens: Callable[[str], int]
    record: bool
    seed: int | None

    @classmethod
    def around(cls, aligner: "PersonaAligner", model: Any, mode: str, **settings: Any) -> AlignedRunnable:
        """The runnable of a flow around a model."""
        resolved = resolve(model, mode, settings.pop("basis"))
        logger.info("aligning by %s: %s", resolved.mode, resolved.reason)
        settings["count_tokens"] = settings["count_tokens"] or resolved.count_tokens
        flow = cls(aligner=aligner, resolved=resolved, **settings)
        return AlignedRunnable(model=model, flow=flow)

    def prepare(self, user_id: str, thread_id: str | None, messages: list[BaseMessage]) -> Plan:
        """Record what is new, then plan the model call by the mode."""
        new = [text for message in new_human_messages(messages) if (text := message_text(message)).strip()]
        turns = [Turn(role="user", text=text, thread_id=thread_id) for text in new]
        if self.record and turns:
            self.aligner.record(user_id, *turns)
        mode = self.resolved.mode
        if mode == "off" or not turns:
            return Plan(messages=messages)
        vector = self.aligner.preferences(user_id)
        asked = _Asked(self.aligner, user_id, turns, vector)
        plan = getattr(self, f"_plan_{mode}")(asked, messages)
        return replace(plan, why={"mode": mode, **plan.why}) if plan.why else plan

    def finish(self, user_id: str, thread_id: str | None, reply: str) -> None:
        """Record a reply; one that cannot be stored is left out, with a warning."""
        if not (self.record and reply.strip()):
            return
        try:
            turn = Turn(role="assistant", text=reply, thread_id=thread_id)
        except InvalidRecordError as error:
            logger.warning("a reply was not recorded: %s", error)
            return
        self.aligner.record(user_id, turn)

    def _plan_ica(self, asked: "_Asked", messages: list[BaseMessage]) -> Plan:
        records = asked.shown(self.k)
        conditioned = self._conditioned(partial(ica, records=records), messages)
        return Plan(messages=conditioned, why={"records": [record.id for record in records]} if records else {})

    def _plan_pba(self, asked: "_Asked", messages: list[BaseMessage], lines: int = 8) -> Plan:
        readings = usable_readings(asked.vector, relevant=asked.relevant, evidence=asked.evidence)[:lines]
        conditioned = self._conditioned(
            partial(pba, vector=asked.vector, relevant=asked.relevant, evidence=asked.evidence, max_lines=lines),
            messages,
        )
        return Plan(messages=conditioned, why={"dimensions": {r.key: r.value for r in readings}} if readings else {})

    def _plan_pas(self, asked: "_Asked", messages: list[BaseMessage]) -> Plan:
        steerable = asked.steerable_vector()
        offsets = self.resolved.basis.offsets(steerable, strength=self.strength)
        if offsets.is_zero:
            return Plan(messages=messages)
        steered = {r.key: r.value for r in steerable.confident() if r.key in self.resolved.basis.dimensions}
        return Plan(messages=messages, kwargs={"offsets": offsets}, why={"steered": steered, "strength": self.strength})

    def _plan_auto(self, asked: "_Asked", messages: list[BaseMessage]) -> Plan:
        steered = self._plan_pas(asked, messages)
        said = self._plan_pba(asked, messages, lines=_SHORT_PBA_LINES)
        return replace(steered, messages=said.messages, why={**said.why, **steered.why})

    def _plan_rerank(self, asked: "_Asked", messages: list[BaseMessage]) -> Plan:
        sampled = self.resolved.steerable
        first = 0 if self.seed is None else self.seed
        known = asked.can_rank()
        attempts = tuple(
            {"temperature": _RERANK_TEMPERATURE, "seed": first + i} if sampled else {}
            for i in range(max(self.candidates, 1) if known else 1)
        )
        if len(attempts) == 1:
            return Plan(messages=messages, attempts=attempts)
        return Plan(messages=messages, attempts=attempts, choose=asked.choose, why={"candidates": len(attempts)})

    def _conditioned(
        self, condition: Callable[..., list[BaseMessage]], messages: list[BaseMessage]
    ) -> list[BaseMessage]:
        if self.max_prompt_tokens <= 0:
            return messages
        return condition(
            messages, max_tokens=self.max_prompt_tokens, count_tokens=self.count_tokens, template=self.template
        )


class _Asked:
    """One question of one user, with what is known of them and of what it concerns."""

    def __init__(
        self, aligner: "PersonaAligner", user_id: str, turns: Sequence[Turn], vector: PreferenceVector
    ) -> None:
        self.aligner = aligner
        self.user_id = user_id
        self.turns = turns
        self.vector = vector
        self._content: Any = None
        self._topics: frozenset[str] | None = None

    @property
    def text(self) -> str:
        return self.turns[-1].text

    @property
    def content(self) -> Any:
        """The question's content embedding: kept with its record, else encoded now."""
        if self._content is None:
            own = {turn.id for turn in self.turns[-1:]}
            kept = [e for e in self.aligner.memory.history(self.user_id).entries if e.record.id in own]
            self._content = kept[0].embedding if kept else self.aligner.encode(self.text).content
        return self._content

    def relevant(self, key: str) -> bool:
        """Whether the question concerns a topic dimension."""
        if self._topics is None:
            self._topics = self.aligner.topics(self.content)
        return key in self._topics

    @property
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
        off = np.array([d.scope == "topic" and not self.relevant(d.key) for d in self.vector.space])
        return self.vector.model_copy(
            update={
                name: np.where(off, 0.0, getattr(self.vector, name)) for name in ("values", "confidence", "support")
            }
        )

    def shown(self, k: int) -> list[Record]:
        """The records that ICA shows, best first: those that matter for the question, then for usable preferences."""
        own = {turn.id for turn in self.turns}
        history = self.aligner.memory.history(self.user_id)
        if k < 1 or not any(entry.record.id not in own for entry in history.entries):
            return []
        from persona_align.memory import retrieve

        near = retrieve(history, self.content, k, exclude=own, query_text=self.text)
        chosen: dict[str, Record] = {found.record.id: found.record for found in near if found.score >= _RELEVANT}
        for reading in usable_readings(self.vector, relevant=self.relevant, evidence=self.evidence):
            for moved in self.aligner.explain(self.user_id, reading.key)[:2]:
                if moved.record.id not in own and isinstance(moved.record, Turn | Comparison | Description):
                    chosen.setdefault(moved.record.id, moved.record)
        return list(chosen.values())[:k]

    def can_rank(self) -> bool:
        return self.aligner.has_taste(self.user_id)

    def choose(self, texts: Sequence[str]) -> int:
        """The position of the best candidate; the first where nothing tells them apart."""
        best = self.aligner.rank(self.user_id, self.text, texts)[0]
        return list(texts).index(best.text)
