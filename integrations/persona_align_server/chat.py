"""OpenAI's chat completions, aligned with the person whom `user` names."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig

from persona_align.aligner import PersonaAligner
from persona_align.errors import InvalidRecordError, PersonaAlignError
from persona_align.runnable import AlignedRunnable
from persona_align_server.keys import Caller, caller
from persona_align_server.schemas import ChatRequest, ModelEntry, ModelList

__all__ = ["Service", "router"]

logger = logging.getLogger("persona_align.server")

router = APIRouter(prefix="/v1", tags=["chat"])
Acting = Annotated[Caller, Depends(caller)]


class Service:
    """The aligned model, in every mode that was asked for."""

    def __init__(
        self,
        aligner: PersonaAligner,
        model: Any,
        mode: str,
        model_name: str | None,
        timeout: float | None,
        settings: dict[str, Any],
    ) -> None:
        self.aligner = aligner
        self.model = model
        self.mode = mode
        self.name = model_name or str(getattr(model, "model_name", "") or type(model).__name__)
        self.timeout = timeout
        self._settings = settings
        self._aligned: dict[tuple[str, bool], AlignedRunnable] = {}
        self._lock = Lock()
        self.aligned(mode, True)

    def aligned(self, mode: str, record: bool) -> AlignedRunnable:
        """The runnable of a mode."""
        with self._lock:
            if (mode, record) not in self._aligned:
                self._aligned[mode, record] = self.aligner.wrap(self.model, mode, record=record, **self._settings)
            return self._aligned[mode, record]


@router.get("/models")
def models(request: Request, acting: Acting) -> ModelList:  # noqa: ARG001
    """The models that can be asked for."""
    return ModelList(data=[ModelEntry(id=request.app.state.service.name)])


_OK: dict[int | str, dict[str, Any]] = {
    200: {"description": "One JSON object, or with `stream` a stream of events.", "content": {"text/event-stream": {}}}
}


@router.post("/chat/completions", response_model=None, responses=_OK)
async def completions(request: Request, asked: ChatRequest, acting: Acting) -> Response:
    """A reply, whole or as a stream of server-sent events."""
    service: Service = request.app.state.service
    user_id = acting.acting_for(asked.user)
    messages = _messages(asked)
    aligned = await asyncio.to_thread(service.aligned, asked.persona.mode or service.mode, asked.persona.record)
    config: RunnableConfig = {"configurable": {"user_id": user_id, "thread_id": asked.persona.thread_id}}
    keywords = _keywords(asked)
    try:
        if asked.stream:
            events = _events(aligned, messages, config, keywords, service, asked)
            first = await anext(events)  # an error before the first token is a status, not a broken stream
            return StreamingResponse(_joined(first, events), media_type="text/event-stream")
        async with asyncio.timeout(service.timeout):
            reply = await _until_gone(request, aligned.ainvoke(messages, config, **keywords))
    except PersonaAlignError:
        raise
    except Exception as error:
        logger.exception("the model failed")
        told = _told(error)
        return JSONResponse({"error": told}, status_code=told["code"])
    if reply is None:
        return Response(status_code=499)  # nobody reads it
    return JSONResponse(_completion(reply, service.name))


def _told(error: Exception) -> dict[str, Any]:
    """What a client is told of a failure of the model: nothing of its inside."""
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:  # httpx and openai have types of their own
        return {"message": "The model did not answer in time. Try again later.", "type": "model_timeout", "code": 504}
    return {"message": "The model failed to answer. Try again later.", "type": "model_error", "code": 502}


def _messages(asked: ChatRequest) -> list[BaseMessage]:
    raw = [message.model_dump(exclude_none=True) | {"content": message.content or ""} for message in asked.messages]
    try:
        return convert_to_messages(raw)
    except (ValueError, NotImplementedError, KeyError, TypeError) as error:
        raise InvalidRecordError(f"These are not messages: {error}.", "Send them as OpenAI's API describes.") from error


def _keywords(asked: ChatRequest) -> dict[str, Any]:
    given = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_tokens": asked.max_completion_tokens or asked.max_tokens,
        "stop": [asked.stop] if isinstance(asked.stop, str) else asked.stop,
        "seed": asked.seed,
        **asked.model_dump(include={"tools", "tool_choice", "response_format"}, exclude_none=True),
    }
    return {name: value for name, value in given.items() if value is not None}


async def _until_gone(request: Request, answering: Any) -> Any:
    """The reply; None where the client leaves first, and then the generation stops."""
    task = asyncio.ensure_future(answering)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.5)
            if not task.done() and await request.is_disconnected():
                return None
        return await task
    finally:
        task.cancel()  # also where the time was up


async def _events(
    aligned: AlignedRunnable,
    messages: list[BaseMessage],
    config: Any,
    keywords: dict[str, Any],
    service: Service,
    asked: ChatRequest,
) -> AsyncGenerator[str]:
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": service.name}
    head["object"] = "chat.completion.chunk"
    usage: dict[str, int] | None = None
    finish = "stop"
    role: dict[str, str] = {"role": "assistant"}
    try:
        async with aclosing(_in_time(aligned.astream(messages, config, **keywords), service.timeout)) as chunks:
            async for chunk in chunks:
                message = chunk if isinstance(chunk, AIMessage) else AIMessage(str(chunk))
                usage = _usage(message) or usage
                finish = message.response_metadata.get("finish_reason") or finish
                persona, calls = _persona(message), _called(message)
                if message.text or role or persona or calls:
                    delta = {**role, "content": str(message.text), **calls}
                    yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **persona})
                    role = {}
                    finish = "tool_calls" if calls else finish
    except Exception as error:
        if role:
            raise
        logger.exception("the model failed in mid-stream")
        yield _event({"error": _told(error)})
        return
    yield _event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if asked.stream_options is not None and asked.stream_options.include_usage:
        yield _event({**head, "choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _called(message: AIMessage) -> dict[str, Any]:
    """The tool calls in a message, or of a chunk the parts of them, in the form of a delta."""
    if not isinstance(message, AIMessageChunk):
        calls = [{"index": i, **call} for i, call in enumerate(_calls(message))]
        return {"tool_calls": calls} if calls else {}
    parts = []
    for part in message.tool_call_chunks:
        begun = {"id": part["id"], "type": "function"} if part["id"] else {}
        named = {"name": part["name"]} if part["name"] else {}
        parts.append({"index": part["index"] or 0, **begun, "function": {**named, "arguments": part["args"] or ""}})
    return {"tool_calls": parts} if parts else {}


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
        }
        for call in message.tool_calls
    ]


async def _in_time(chunks: Any, timeout: float | None) -> AsyncGenerator[Any]:
    """Chunks, each of which comes within a time; left early, the generation behind them ends at once."""
    async with aclosing(chunks):
        while True:
            async with asyncio.timeout(timeout):
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield chunk


async def _joined(first: str, rest: AsyncGenerator[str]) -> AsyncIterator[str]:
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _completion(reply: Any, name: str) -> dict[str, Any]:
    message = reply if isinstance(reply, AIMessage) else AIMessage(str(reply))
    content: dict[str, Any] = {"role": "assistant", "content": str(message.text)}
    if message.tool_calls:
        content["tool_calls"] = _calls(message)
    finish = "tool_calls" if message.tool_calls else message.response_metadata.get("finish_reason") or "stop"
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": content, "finish_reason": finish}],
        "usage": _usage(message),
        **_persona(message),
    }


def _usage(message: AIMessage) -> dict[str, int] | None:
    used = message.usage_metadata
    if not used:
        return None
    return {
        "prompt_tokens": used["input_tokens"],
        "completion_tokens": used["output_tokens"],
        "total_tokens": used["total_tokens"],
    }


def _persona(message: AIMessage) -> dict[str, Any]:
    why = message.response_metadata.get("persona_align")
    return {"persona": why} if why else {}
