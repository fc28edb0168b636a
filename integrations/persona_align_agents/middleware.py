"""A middleware for `create_agent`: every model call of a run is aligned with the user of its context."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from persona_align.aligner import PersonaAligner
from persona_align.asked import Asked
from persona_align.errors import UnsupportedModeError
from persona_align.flow import AlignedFlow
from persona_align_agents.tools import persona_tools
from persona_align_agents.user import thread_of, user_of

__all__ = ["PersonaMiddleware"]

_KEPT_RUNS = 256


class PersonaMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Aligns an agent's replies with the user named in the run's context.

    What the user says is recorded when a run begins and the final reply when it ends, each once for its message id.
    The user's vector is read once a run. Tool calls are left alone. Give a sub-agent `record=False`: what an agent
    asks it is no user's own words.

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
        request, why = self._aligned(request)
        return _explained(handler(request), why)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """The same, without blocking the event loop."""
        request, why = await asyncio.to_thread(self._aligned, request)
        return _explained(await handler(request), why)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Record the final reply."""
        last = state["messages"][-1]
        if isinstance(last, AIMessage):
            self._recorder.finish(user_of(runtime), thread_of(runtime), str(last.text), message_id=last.id)

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """The same, without blocking the event loop."""
        await asyncio.to_thread(self.after_agent, state, runtime)

    def _aligned(self, request: ModelRequest[Any]) -> tuple[ModelRequest[Any], dict[str, Any]]:
        user_id, thread_id = user_of(request.runtime), thread_of(request.runtime)
        flow = self._flow(request.model)
        human = [message for message in request.messages if isinstance(message, HumanMessage)]
        key = (user_id, thread_id, human[-1].id if human else None)
        with self._lock:
            known = key[-1] is not None and key in self._asked
            asked = self._asked.get(key)
        if not known:
            asked = flow.ask(user_id, thread_id, request.messages)
            with self._lock:
                self._asked[key] = asked
                _trim(self._asked)
        if asked is None:
            return request, {}
        plan = flow.plan_for(asked, list(request.messages))
        return (
            request.override(
                messages=cast(list[Any], plan.messages), model_settings={**request.model_settings, **plan.kwargs}
            ),
            plan.why,
        )

    def _flow(self, model: Any) -> AlignedFlow:
        with self._lock:
            kept = self._flows.get(id(model))
        if kept is None or kept[0] is not model:
            kept = (model, AlignedFlow.of(self.aligner, model, self.mode, **self._settings))
            with self._lock:
                self._flows[id(model)] = kept
                _trim(self._flows)
        return kept[1]


def _trim(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > _KEPT_RUNS:
        kept.popitem(last=False)


def _explained(response: ModelResponse[Any], why: dict[str, Any]) -> ModelResponse[Any]:
    if why:
        response.result[:] = [
            message.model_copy(update={"response_metadata": {**message.response_metadata, "persona_align": why}})
            if isinstance(message, AIMessage)
            else message
            for message in response.result
        ]
    return response
