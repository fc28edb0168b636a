"""The alignment of one request: record, read, condition or steer, record the reply."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import BaseMessage, HumanMessage

from persona_align.asked import Asked
from persona_align.conditioning import ica, message_text, new_human_messages, pba, usable_readings
from persona_align.errors import InvalidRecordError
from persona_align.modes import Resolved, resolve
from persona_align.records import Turn
from persona_align.runnable import Plan

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner

__all__ = ["AlignedFlow"]

logger = logging.getLogger("persona_align")

_RERANK_TEMPERATURE = 0.8
_SHORT_PBA_LINES = 3
_BESIDE_PBA = 0.5
"""In "auto" the strongest preferences are told as well, so that half of the strength does, and no text suffers."""


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
    def of(cls, aligner: "PersonaAligner", model: Any, mode: str, *, basis: Any, **settings: Any) -> Self:
        """The flow for a model, in the mode that it can take."""
        resolved = resolve(model, mode, basis)
        logger.info("aligning by %s: %s", resolved.mode, resolved.reason)
        settings["count_tokens"] = settings["count_tokens"] or resolved.count_tokens
        return cls(aligner=aligner, resolved=resolved, **settings)

    def announced(self) -> AbstractContextManager[None]:
        """Tells a local model of a request that is being prepared, so that those of one moment meet in one batch."""
        if self.resolved.chat is None:
            return nullcontext()
        from persona_align.models.batching import Batcher

        return Batcher.of(self.resolved.chat.model).coming()

    def prepare(self, user_id: str, thread_id: str | None, messages: list[BaseMessage]) -> Plan:
        """Record what is new, then plan the model call."""
        self.note(user_id, thread_id, messages)
        return self.plan(user_id, thread_id, messages)

    def note(self, user_id: str, thread_id: str | None, messages: Sequence[BaseMessage]) -> None:
        """Record what the user has said since the last reply."""
        said = [_turn(message, thread_id) for message in new_human_messages(messages)]
        turns = [turn for turn in said if turn is not None]
        if self.record and turns:
            self.aligner.record(user_id, *turns)

    def plan(self, user_id: str, thread_id: str | None, messages: list[BaseMessage]) -> Plan:
        """The model call that answers the last human message; nothing is recorded."""
        asked = self.ask(user_id, thread_id, messages)
        return Plan(messages=messages) if asked is None else self.plan_for(asked, messages)

    def ask(self, user_id: str, thread_id: str | None, messages: Sequence[BaseMessage]) -> Asked | None:
        """What the last human message asks, with what is known of the user now; None where there is no text."""
        human = [message for message in messages if isinstance(message, HumanMessage)]
        turn = _turn(human[-1], thread_id) if human else None
        if self.resolved.mode == "off" or turn is None:
            return None
        fresh = [_turn(message, thread_id) for message in new_human_messages(messages)]
        return Asked(self.aligner, user_id, turn, frozenset(each.id for each in (*fresh, turn) if each is not None))

    def plan_for(self, asked: Asked, messages: list[BaseMessage]) -> Plan:
        """The model call by the mode."""
        plan = self._planners[self.resolved.mode](asked, messages)
        return replace(plan, why={"mode": self.resolved.mode, **plan.why}) if plan.why else plan

    @property
    def _planners(self) -> dict[str, Callable[[Asked, list[BaseMessage]], Plan]]:
        return {
            "auto": self._plan_auto,
            "ica": self._plan_ica,
            "pba": self._plan_pba,
            "pas": self._plan_pas,
            "rerank": self._plan_rerank,
        }

    def finish(self, user_id: str, thread_id: str | None, reply: str, *, message_id: str | None = None) -> None:
        """Record a reply; one that cannot be stored is left out, with a warning."""
        if not (self.record and reply.strip()):
            return
        try:
            turn = Turn(id=_identity(thread_id, message_id), role="assistant", text=reply, thread_id=thread_id)
        except InvalidRecordError as error:
            logger.warning("a reply was not recorded: %s", error)
            return
        self.aligner.record(user_id, turn)

    def _plan_ica(self, asked: Asked, messages: list[BaseMessage]) -> Plan:
        records = asked.shown(self.k)
        conditioned = self._conditioned(partial(ica, records=records), messages)
        return Plan(messages=conditioned, why={"records": [record.id for record in records]} if records else {})

    def _plan_pba(self, asked: Asked, messages: list[BaseMessage], lines: int = 8) -> Plan:
        readings = usable_readings(asked.vector, relevant=asked.relevant, evidence=asked.evidence)[:lines]
        conditioned = self._conditioned(
            partial(pba, vector=asked.vector, relevant=asked.relevant, evidence=asked.evidence, max_lines=lines),
            messages,
        )
        return Plan(messages=conditioned, why={"dimensions": {r.key: r.value for r in readings}} if readings else {})

    def _plan_pas(self, asked: Asked, messages: list[BaseMessage], share: float = 1.0) -> Plan:
        steerable, strength = asked.steerable_vector(), share * self.strength
        offsets = self.resolved.basis.offsets(steerable, strength=strength)
        if offsets.is_zero:
            return Plan(messages=messages)
        steered = {reading.key: reading.value for reading in self.resolved.basis.steering(steerable)}
        return Plan(messages=messages, kwargs={"offsets": offsets}, why={"steered": steered, "strength": strength})

    def _plan_auto(self, asked: Asked, messages: list[BaseMessage]) -> Plan:
        steered = self._plan_pas(asked, messages, share=_BESIDE_PBA)
        said = self._plan_pba(asked, messages, lines=_SHORT_PBA_LINES)
        return replace(steered, messages=said.messages, why={**said.why, **steered.why})

    def _plan_rerank(self, asked: Asked, messages: list[BaseMessage]) -> Plan:
        sampled = self.resolved.chat is not None
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


def _turn(message: BaseMessage, thread_id: str | None) -> Turn | None:
    """A human message as a record; one without text, a picture for example, is none."""
    text = message_text(message)
    if not text.strip():
        return None
    return Turn(id=_identity(thread_id, message.id), role="user", text=text, thread_id=thread_id)


def _identity(thread_id: str | None, message_id: str | None) -> str:
    return f"message:{thread_id or ''}:{message_id}" if message_id else ""
