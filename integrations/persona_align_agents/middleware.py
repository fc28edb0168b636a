"""A middleware for `create_agent`: every model call of a run is aligned with the user of its context."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables.config import ensure_config
from langgraph.runtime import Runtime

from persona_align.aligner import PersonaAligner
from persona_align.asked import Asked
from persona_align.errors import UnsupportedModeError
from persona_align.flow import AlignedFlow
from persona_align.runnable import EVENT, Plan, traced
from persona_align_agents.tools import erased, persona_tools
from persona_align_agents.user import thread_of, user_of

__all__ = ["PersonaMiddleware"]

_KEPT_RUNS = 256


class PersonaMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Aligns an agent's replies with the user named in the run's context.

    What the user says is recorded when a run begins and the final reply when it ends, each once for its message id.
    The user's vector is read once a run. Tool calls are left alone. After `forget_me` the rest of the run is neither
    aligned nor recorded. Give a sub-agent `record=False`: what an agent asks it is no user's own words.

    Callbacks and `astream_events` get the custom event "persona_align" before each model call: what was retrieved,
    injected and steered, as ids, names and strengths; see `AlignedRunnable`.

    Args:
        aligner: What is known of users.
        mode: "auto", "ica", "pba", "pas" or "off"; see `PersonaAligner.wrap`.
        tools: Whether the agent may remember, tell and forget by itself; see `persona_tools`.
        name: Two of these in one agent need different names.
        settings: basis, strength, k, max_prompt_tokens, template, count_tokens and record of `PersonaAligner.wrap`.

    Raises:
        UnsupportedModeError: The mode is unknown, or cannot work in an agent.

    Example:
        >>> from langchain.agents import create_agent
        >>> from persona_align import PersonaAligner
        >>> from persona_align.testing import EchoChat, HashEncoder
        >>> aligner = PersonaAligner.open(encoder=HashEncoder())
        >>> agent = create_agent(EchoChat(), middleware=[PersonaMiddleware(aligner)], context_schema=dict)
        >>> asked = {"messages": [("human", "What shall I cook?")]}
        >>> agent.invoke(asked, context={"user_id": "ada"})["messages"][-1].content
        'What shall I cook?'
    """

    def __init__(
        self,
        aligner: PersonaAligner,
        mode: str = "auto",
        tools: bool = False,
        *,
        name: str = "persona",
        **settings: Any,
    ) -> None:
        super().__init__()
        if mode == "rerank":
            raise UnsupportedModeError(
                "mode='rerank' does not work in an agent, where a reply may be a tool call.",
                "Use mode='auto', 'ica', 'pba', 'pas' or 'off'.",
            )
        defaults = {
            "basis": None, "strength": 1.0, "k": 5, "max_prompt_tokens": 512, "template": "default",
            "count_tokens": None, "record": True,
        }  # fmt: skip
        unknown = settings.keys() - defaults.keys()
        if unknown:
            msg = f"unknown settings: {', '.join(sorted(unknown))}; known are {', '.join(defaults)}"
            raise TypeError(msg)
        self.aligner = aligner
        self.mode = mode
        self.tools = persona_tools(aligner) if tools else []
        self._name = name
        self._settings = {**defaults, **settings, "candidates": 1, "seed": None}
        self._recorder = AlignedFlow.of(aligner, None, "off", **self._settings)
        self._flows: OrderedDict[int, tuple[Any, AlignedFlow]] = OrderedDict()
        self._asked: OrderedDict[tuple[str, str | None, str | None], Asked | None] = OrderedDict()
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The name in the agent's graph."""
        return self._name

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Record what the user has said since the last reply."""
        self._recorder.note(user_of(runtime), thread_of(runtime), state["messages"])

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """The same, without blocking the event loop."""
        await asyncio.to_thread(self.before_agent, state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Condition or steer one model call."""
        plan = self._plan(request)
        with suppress(RuntimeError):  # called outside a run, where there is nobody to tell
            for event in traced(plan, request.messages, ensure_config()):
                dispatch_custom_event(EVENT, event)
        return _explained(handler(_planned(request, plan)), plan.why)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """The same, without blocking the event loop."""
        plan = await asyncio.to_thread(self._plan, request)
        with suppress(RuntimeError):
            for event in traced(plan, request.messages, ensure_config()):
                await adispatch_custom_event(EVENT, event)
        return _explained(await handler(_planned(request, plan)), plan.why)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Record the final reply, unless the user was forgotten meanwhile."""
        user_id, messages = user_of(runtime), state["messages"]
        last = messages[-1]
        self._drop(_run(user_id, thread_of(runtime), messages))
        if isinstance(last, AIMessage) and not erased(messages):
            self._recorder.finish(user_id, thread_of(runtime), str(last.text), message_id=last.id)

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """The same, without blocking the event loop."""
        await asyncio.to_thread(self.after_agent, state, runtime)

    def _plan(self, request: ModelRequest[Any]) -> Plan:
        user_id, thread_id = user_of(request.runtime), thread_of(request.runtime)
        messages: list[BaseMessage] = list(request.messages)
        key = _run(user_id, thread_id, messages)
        if erased(messages):
            self._drop(key)
            return Plan(messages=messages)
        flow = self._flow(request.model)
        with self._lock:
            known = key[-1] is not None and key in self._asked
            asked = self._asked.get(key)
        if not known:
            asked = flow.ask(user_id, thread_id, messages)
            with self._lock:
                self._asked[key] = asked
                _trim(self._asked)
        return Plan(messages=messages) if asked is None else flow.plan_for(asked, messages)

    def _drop(self, key: tuple[str, str | None, str | None]) -> None:
        with self._lock:
            self._asked.pop(key, None)

    def _flow(self, model: Any) -> AlignedFlow:
        with self._lock:
            kept = self._flows.get(id(model))
        if kept is None or kept[0] is not model:
            kept = (model, AlignedFlow.of(self.aligner, model, self.mode, **self._settings))
            with self._lock:
                self._flows[id(model)] = kept
                _trim(self._flows)
        return kept[1]


def _run(user_id: str, thread_id: str | None, messages: Sequence[BaseMessage]) -> tuple[str, str | None, str | None]:
    """What tells one run from another: whose it is, and the question that it answers."""
    human = [message for message in messages if isinstance(message, HumanMessage)]
    return user_id, thread_id, human[-1].id if human else None


def _planned(request: ModelRequest[Any], plan: Plan) -> ModelRequest[Any]:
    if not plan.why:
        return request
    settings = {**request.model_settings, **plan.kwargs}
    return request.override(messages=cast(list[Any], plan.messages), model_settings=settings)


def _trim(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > _KEPT_RUNS:
        kept.popitem(last=False)


def _explained(response: ModelResponse[Any], why: dict[str, Any]) -> ModelResponse[Any]:
    if why:
        response.result[:] = [
            message.model_copy(update={"response_metadata": {**message.response_metadata, EVENT: why}})
            if isinstance(message, AIMessage)
            else message
            for message in response.result
        ]
    return response
