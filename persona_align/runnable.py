"""The flow as a LangChain runnable: prepare, call the model, record.

The runnable knows nothing of memory, vectors or offsets; it asks a Flow what to send to the model and tells it what
came back.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Protocol

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable, patch_config
from langchain_core.runnables.config import ensure_config, get_executor_for_config, run_in_executor
from langchain_core.runnables.utils import ConfigurableFieldSpec
from pydantic import ConfigDict, Field

from persona_align.errors import require_user

__all__ = ["EVENT", "AlignedRunnable", "Flow", "Plan", "as_messages", "reply_text", "traced"]

EVENT = "persona_align"
"""The name of the custom event that tells tracers and callbacks what shaped a reply."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one request sends to the model.

    Args:
        messages: The prompt, conditioned or as it came.
        kwargs: Keyword arguments of the model call, for example activation offsets.
        attempts: Keyword arguments of each candidate; more than one where replies are to be ranked.
        choose: Which of the candidates' texts is best, as a position.
        why: What shaped the reply: names and strengths, no texts.
    """

    messages: list[BaseMessage]
    kwargs: dict[str, Any] = field(default_factory=dict)
    attempts: tuple[dict[str, Any], ...] = ({},)
    choose: Callable[[Sequence[str]], int] | None = None
    why: dict[str, Any] = field(default_factory=dict)


class Flow(Protocol):
    """What stands behind an aligned runnable."""

    def prepare(self, user_id: str, thread_id: str | None, messages: list[BaseMessage]) -> Plan:
        """Record what the user said, and say what goes to the model."""

    def finish(self, user_id: str, thread_id: str | None, reply: str) -> None:
        """Record a complete reply."""


class AlignedRunnable(RunnableSerializable[Any, Any]):
    """A model whose replies are aligned with the user named in the config.

    Input is a string, a PromptValue or messages; output is what the model gives. The user is
    `config["configurable"]["user_id"]`, the conversation `config["configurable"]["thread_id"]` (optional).

    Callbacks and `astream_events` get a custom event "persona_align" that tells what was retrieved, injected and
    steered, as ids, names and strengths; the model's run has the same in its metadata. With
    `config["configurable"]["trace_texts"]` the event also holds the texts that were put into the prompt.

    Raises:
        MissingUserError: The config names no user; nothing was read or written.
        TypeError: The input is none of the three.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    model: Any = Field(exclude=True)
    flow: Any = Field(exclude=True)
    announced: Any = Field(default=nullcontext, exclude=True)
    """Makes the block in which a request is prepared, until its model call has begun to reply."""

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The configurable fields: user_id and thread_id."""
        return [
            ConfigurableFieldSpec(id="user_id", annotation=str, name="User", is_shared=True),
            ConfigurableFieldSpec(id="thread_id", annotation=str, name="Conversation", default=None, is_shared=True),
        ]

    @property
    def InputType(self) -> Any:  # noqa: N802
        """A string, a PromptValue or messages."""
        return LanguageModelInput

    @property
    def OutputType(self) -> Any:  # noqa: N802
        """What the wrapped model gives."""
        return self.model.OutputType if isinstance(self.model, Runnable) else Any

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """One aligned reply."""
        _context(config)
        return self._call_with_config(self._reply, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """One aligned reply."""
        _context(config)
        return await self._acall_with_config(self._areply, input, config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """The chunks of one aligned reply; recorded once, when the last one has been given."""
        _context(config)
        return self._transform_stream_with_config(iter([input]), self._chunks, config, **kwargs)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """The chunks of one aligned reply; recorded once, when the last one has been given."""
        _context(config)

        async def inputs() -> AsyncIterator[Any]:
            yield input

        async for chunk in self._atransform_stream_with_config(inputs(), self._achunks, config, **kwargs):
            yield chunk

    def _reply(self, input: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any) -> Any:
        user_id, thread_id = _context(config)
        messages = as_messages(input)
        with self.announced():
            plan = self.flow.prepare(user_id, thread_id, messages)
            child = _child(config, run_manager, plan)
            for event in traced(plan, messages, config):
                dispatch_custom_event(EVENT, event, config=child)
            if plan.choose is None:
                reply = self.model.invoke(plan.messages, child, **{**kwargs, **plan.kwargs, **plan.attempts[0]})
            else:
                with get_executor_for_config(child) as executor:
                    replies = list(
                        executor.map(
                            lambda own: self.model.invoke(plan.messages, child, **{**kwargs, **plan.kwargs, **own}),
                            plan.attempts,
                        )
                    )
                reply = replies[plan.choose([reply_text(each) for each in replies])]
        self.flow.finish(user_id, thread_id, reply_text(reply))
        return _explained(reply, plan.why)

    async def _areply(
        self, input: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        user_id, thread_id = _context(config)
        messages = as_messages(input)
        with self.announced():
            plan = await run_in_executor(config, self.flow.prepare, user_id, thread_id, messages)
            child = _child(config, run_manager, plan)
            for event in traced(plan, messages, config):
                await adispatch_custom_event(EVENT, event, config=child)
            replies = await asyncio.gather(
                *(self.model.ainvoke(plan.messages, child, **{**kwargs, **plan.kwargs, **own}) for own in plan.attempts)
            )
        reply = replies[0]
        if plan.choose is not None:
            reply = replies[await run_in_executor(config, plan.choose, [reply_text(each) for each in replies])]
        await run_in_executor(config, self.flow.finish, user_id, thread_id, reply_text(reply))
        return _explained(reply, plan.why)

    def _chunks(
        self, inputs: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[Any]:
        user_id, thread_id = _context(config)
        messages = as_messages(_only(list(inputs)))
        with self.announced():
            plan = self.flow.prepare(user_id, thread_id, messages)
            child = _child(config, run_manager, plan)
            for event in traced(plan, messages, config):
                dispatch_custom_event(EVENT, event, config=child)
            chunks = self._reply_chunks(plan, child, kwargs)
            first = list(islice(chunks, 1))
        said = _Said(plan.why)
        for chunk in chain(first, chunks):
            yield said.next(chunk)
        self.flow.finish(user_id, thread_id, said.text)

    def _reply_chunks(self, plan: Plan, child: RunnableConfig, kwargs: dict[str, Any]) -> Iterator[Any]:
        if plan.choose is None:
            yield from self.model.stream(plan.messages, child, **{**kwargs, **plan.kwargs, **plan.attempts[0]})
            return
        replies = [self.model.invoke(plan.messages, child, **{**kwargs, **plan.kwargs, **own}) for own in plan.attempts]
        yield _as_chunk(replies[plan.choose([reply_text(each) for each in replies])])

    async def _achunks(
        self,
        inputs: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        user_id, thread_id = _context(config)
        messages = as_messages(_only([each async for each in inputs]))
        with self.announced():
            plan = await run_in_executor(config, self.flow.prepare, user_id, thread_id, messages)
            child = _child(config, run_manager, plan)
            for event in traced(plan, messages, config):
                await adispatch_custom_event(EVENT, event, config=child)
            chunks = self._areply_chunks(plan, child, config, kwargs)
            first = await anext(chunks, None)
        said = _Said(plan.why)
        async with aclosing(chunks):
            if first is not None:
                yield said.next(first)
            async for chunk in chunks:
                yield said.next(chunk)
        await run_in_executor(config, self.flow.finish, user_id, thread_id, said.text)

    async def _areply_chunks(
        self, plan: Plan, child: RunnableConfig, config: RunnableConfig, kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any]:
        if plan.choose is None:
            own = {**kwargs, **plan.kwargs, **plan.attempts[0]}
            async for chunk in self.model.astream(plan.messages, child, **own):
                yield chunk
            return
        replies = await asyncio.gather(
            *(self.model.ainvoke(plan.messages, child, **{**kwargs, **plan.kwargs, **own}) for own in plan.attempts)
        )
        yield _as_chunk(replies[await run_in_executor(config, plan.choose, [reply_text(each) for each in replies])])


class _Said:
    """The text of a stream so far; the first chunk carries why."""

    def __init__(self, why: dict[str, Any]) -> None:
        self.text = ""
        self._why = why

    def next(self, chunk: Any) -> Any:
        self.text += reply_text(chunk)
        why, self._why = self._why, {}
        return _explained(chunk, why)


def traced(plan: Plan, messages: Sequence[BaseMessage], config: RunnableConfig) -> Iterator[dict[str, Any]]:
    """The event that tells what shapes a reply: ids, names and strengths; none where nothing does.

    Args:
        plan: What goes to the model.
        messages: What was asked, before conditioning.
        config: Of the call; with `configurable["trace_texts"]` the texts that conditioning wrote are told too.
    """
    if not plan.why:
        return
    event = dict(plan.why)
    if (config.get("configurable") or {}).get("trace_texts"):
        asked = [reply_text(message) for message in messages]
        event["texts"] = [text for text in map(reply_text, plan.messages) if text not in asked]
    yield event


def as_messages(input: Any) -> list[BaseMessage]:
    """The messages that an input stands for.

    Raises:
        TypeError: It is neither a string, nor a PromptValue, nor messages.
    """
    if isinstance(input, PromptValue):
        return input.to_messages()
    if isinstance(input, str):
        return convert_to_messages([("human", input)])
    if isinstance(input, Sequence) and input and not isinstance(input, bytes | bytearray):
        try:
            return convert_to_messages(input)
        except (ValueError, NotImplementedError) as error:
            raise TypeError(f"These are not messages: {error}") from error
    msg = f"The input must be a string, a PromptValue or messages, not {type(input).__name__}."
    raise TypeError(msg)


def reply_text(reply: Any) -> str:
    """The text of what a model gave: a message, a chunk or a string."""
    if isinstance(reply, str):
        return reply
    if isinstance(reply, BaseMessage):
        return str(reply.text)
    return ""


def _context(config: RunnableConfig | None) -> tuple[str, str | None]:
    configurable = ensure_config(config).get("configurable") or {}
    thread_id = configurable.get("thread_id")
    return require_user(configurable.get("user_id")), None if thread_id is None else str(thread_id)


def _child(config: RunnableConfig, run_manager: Any, plan: Plan) -> RunnableConfig:
    """The config of the model's run, whose metadata tells what shapes the reply."""
    child = patch_config(config, callbacks=run_manager.get_child())
    if plan.why:
        child["metadata"] = {**(child.get("metadata") or {}), EVENT: plan.why}
    return child


def _only(inputs: list[Any]) -> Any:
    return inputs[0] if inputs else None


def _explained(reply: Any, why: dict[str, Any]) -> Any:
    if not why or not isinstance(reply, AIMessage):
        return reply
    return reply.model_copy(update={"response_metadata": {**reply.response_metadata, EVENT: why}})


def _as_chunk(reply: Any) -> Any:
    if isinstance(reply, AIMessage) and not isinstance(reply, AIMessageChunk):
        fields = reply.model_dump(exclude={"type"})
        return AIMessageChunk(**fields, chunk_position="last")
    return reply
