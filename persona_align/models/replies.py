"""What a row wrote, as LangChain messages: whole, or in chunks."""

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from persona_align.models.request import Request
from persona_align.models.rows import Event, Outcome
from persona_align.models.tool_calls import Parsed, ToolStream, parse_tool_calls

__all__ = ["ChunkMaker", "to_message"]


def to_message(outcome: Outcome, request: Request, *, model_name: str, tokenizer: Any) -> AIMessage:
    """The finished reply, with tool calls read, usage counted and the reason why it ended."""
    parsed = _parse(outcome, request)
    return AIMessage(
        content=_clean(parsed.content, request, tokenizer),
        tool_calls=parsed.tool_calls,
        invalid_tool_calls=parsed.invalid_tool_calls,
        usage_metadata=_usage(outcome),
        response_metadata=_metadata(outcome, parsed, model_name),
    )


class ChunkMaker:
    """Turns what a row delivers into chunks; the last one carries tool calls, usage and metadata, once."""

    def __init__(self, request: Request, *, model_name: str, tokenizer: Any) -> None:
        self._request, self._model_name, self._tokenizer = request, model_name, tokenizer
        self._tools = ToolStream() if request.tool_names else None
        self._shown = 0

    def chunks(self, event: Event) -> Iterator[ChatGenerationChunk]:
        """The chunks that one event gives; none while it is uncertain what the text will be."""
        if isinstance(event, Outcome):
            yield ChatGenerationChunk(message=self._last(event))
            return
        text = self._tools.push(event) if self._tools else event
        self._shown += len(text)
        text = _clean(text, self._request, self._tokenizer)
        if text:
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))

    def _last(self, outcome: Outcome) -> AIMessageChunk:
        parsed = _parse(outcome, self._request)
        calls: list[Any] = [
            (call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"]) for call in parsed.tool_calls
        ]
        calls += [(call["name"], call["args"], call["id"]) for call in parsed.invalid_tool_calls]
        return AIMessageChunk(
            content=_clean(parsed.content[self._shown :], self._request, self._tokenizer),
            tool_call_chunks=[
                tool_call_chunk(name=name, args=args, id=key, index=index)
                for index, (name, args, key) in enumerate(calls)
            ],
            usage_metadata=_usage(outcome),
            response_metadata=_metadata(outcome, parsed, self._model_name),
            chunk_position="last",
        )


def _parse(outcome: Outcome, request: Request) -> Parsed:
    if not request.tool_names:
        return Parsed(outcome.text, [], [])
    return parse_tool_calls(outcome.text, request.tool_names, salt=request.text)


def _clean(text: str, request: Request, tokenizer: Any) -> str:
    """The text without special tokens, which were kept only because they mark tool calls."""
    if request.tool_names:
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, "")
    return text


def _usage(outcome: Outcome) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        total_tokens=outcome.input_tokens + outcome.output_tokens,
    )


def _metadata(outcome: Outcome, parsed: Parsed, model_name: str) -> dict[str, Any]:
    return {"model_name": model_name, "finish_reason": "tool_calls" if parsed.tool_calls else outcome.finish_reason}
