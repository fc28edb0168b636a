"""Messages to the text a local model reads, by its chat template, whatever that template can and cannot do."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jinja2.exceptions import TemplateError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from persona_align.errors import UnsupportedModelError

__all__ = ["PLAIN_STOP", "PLAIN_TEMPLATE", "render"]

PLAIN_TEMPLATE: Final = (
    "{% if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message.role] }}: {{ message.content }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""What a model without a chat template reads: "System: …", "User: …" and "Assistant: …", with blank lines between."""

PLAIN_STOP: Final = ("\n\nUser:", "\n\nSystem:")
"""Where a reply in the plain template ends: such a model would go on and write the user's next turn."""

_Turn = dict[str, Any]
_REFUSALS: Final = (TemplateError, KeyError, TypeError, IndexError, ValueError)
_SILENT_BLOCKS: Final = frozenset(
    {"tool_use", "tool_call", "invalid_tool_call", "function_call", "thinking", "reasoning"}
)


def render(
    tokenizer: Any,
    messages: Sequence[BaseMessage],
    *,
    tools: Sequence[dict[str, Any]] = (),
    instruction: str = "",
    template_kwargs: dict[str, Any] | None = None,
) -> str:
    """The prompt of a conversation, ready for the assistant's next words.

    What a template does not know is written out: a system message goes into the first user turn, tool calls and
    results become text, tools become an instruction.

    Args:
        tokenizer: A Hugging Face tokenizer; without a chat template, `PLAIN_TEMPLATE` is used.
        messages: Any LangChain messages.
        tools: Tools in OpenAI's format.
        instruction: What the system message shall also say.
        template_kwargs: For the template, for example `{"enable_thinking": False}`.

    Raises:
        ValueError: There are no messages, or they hold text that is not Unicode.
        UnsupportedModelError: A message holds more than text, or the template refuses the conversation.
    """
    if not messages:
        msg = "there are no messages to reply to"
        raise ValueError(msg)
    turns = [_turn(message) for message in messages]
    if instruction:
        turns = _instruct(turns, instruction)
    refusal = "it leaves out the system message or the tools"
    for written, native in _ways(turns, list(tools)):
        try:
            text = _apply(tokenizer, written, native, template_kwargs or {})
        except _REFUSALS as error:
            refusal = str(error)
            continue
        if all(text != _tried(tokenizer, *less, template_kwargs or {}) for less in _poorer(written, native)):
            return _unicode(text)
    raise UnsupportedModelError(
        f"The model's chat template refuses these messages: {refusal}.",
        "Send messages that alternate between user and assistant and end with the user's.",
    )


def _ways(turns: list[_Turn], tools: list[dict[str, Any]]) -> Iterator[tuple[list[_Turn], list[dict[str, Any]]]]:
    """The conversation, from as it is to what any template can write."""
    for spell in (False, True):
        if spell and not tools and not any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
            return
        base = _spelled(turns, tools) if spell else turns
        native = [] if spell else tools
        yield base, native
        yield _joined(_system_first(base)), native
        yield _joined(_system_in_user(_system_first(base))), native


def _apply(tokenizer: Any, turns: list[_Turn], tools: list[dict[str, Any]], kwargs: dict[str, Any]) -> str:
    text: str = tokenizer.apply_chat_template(
        turns,
        tools=tools or None,
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        add_generation_prompt=True,
        tokenize=False,
        **kwargs,
    )
    return text


def _poorer(turns: list[_Turn], tools: list[dict[str, Any]]) -> Iterator[tuple[list[_Turn], list[dict[str, Any]]]]:
    """The conversation without each thing that a template may drop in silence: it did, if the text is the same."""
    for role in ("system", "tool"):
        if any(turn["role"] == role and turn["content"].strip() for turn in turns):
            yield [turn for turn in turns if turn["role"] != role], tools
    if any("tool_calls" in turn for turn in turns):
        yield [{name: value for name, value in turn.items() if name != "tool_calls"} for turn in turns], tools
    if tools:
        yield turns, []


def _tried(tokenizer: Any, turns: list[_Turn], tools: list[dict[str, Any]], kwargs: dict[str, Any]) -> str | None:
    try:
        return _apply(tokenizer, turns, tools, kwargs)
    except _REFUSALS:
        return None


def _turn(message: BaseMessage) -> _Turn:
    turn: _Turn = {"role": _role(message), "content": _text(message)}
    if message.name:
        turn["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {"type": "function", "id": call["id"], "function": {"name": call["name"], "arguments": call["args"]}}
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _role(message: BaseMessage) -> str:
    for kind, role in (
        (SystemMessage, "system"),
        (HumanMessage, "user"),
        (AIMessage, "assistant"),
        (ToolMessage, "tool"),
        (FunctionMessage, "tool"),
    ):
        if isinstance(message, kind):
            return role
    if isinstance(message, ChatMessage):
        return {"developer": "system", "human": "user", "ai": "assistant"}.get(message.role, message.role)
    msg = f"a conversation cannot hold a {type(message).__name__}"
    raise TypeError(msg)


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for block in message.content:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind == "text":
            parts.append(block if isinstance(block, str) else block["text"])
        elif not (isinstance(message, AIMessage) and kind in _SILENT_BLOCKS):
            raise UnsupportedModelError(
                f"The message holds a block of type {kind!r}, and this model reads only text.",
                "Send text blocks, or use a model that reads other media.",
            )
    return "".join(parts)


def _instruct(turns: list[_Turn], instruction: str) -> list[_Turn]:
    if turns[0]["role"] == "system":
        content = f"{turns[0]['content']}\n\n{instruction}".strip()
        return [{**turns[0], "content": content}, *turns[1:]]
    return [{"role": "system", "content": instruction}, *turns]


def _spelled(turns: list[_Turn], tools: list[dict[str, Any]]) -> list[_Turn]:
    """Tools, their calls and results as text, in the format of the Hermes models, which many others know."""
    written = [_spelled_turn(turn) for turn in turns]
    if not tools:
        return written
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return _instruct(
        written,
        f"You may call these tools:\n<tools>\n{listed}\n</tools>\n"
        'To call one, write: <tool_call>{"name": "its name", "arguments": {its arguments}}</tool_call>',
    )


def _spelled_turn(turn: _Turn) -> _Turn:
    if turn["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{turn['content']}\n</tool_response>"}
    calls = [
        f"<tool_call>{json.dumps(call['function'], ensure_ascii=False)}</tool_call>"
        for call in turn.get("tool_calls", ())
    ]
    plain = {name: value for name, value in turn.items() if name != "tool_calls"}
    return {**plain, "content": "\n".join(part for part in (turn["content"], *calls) if part)}


def _system_first(turns: list[_Turn]) -> list[_Turn]:
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in turns if turn["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(system)}, *rest] if system else rest


def _system_in_user(turns: list[_Turn]) -> list[_Turn]:
    if turns[0]["role"] != "system":
        return turns
    return [{"role": "user", "content": turns[0]["content"]}, *turns[1:]]


def _joined(turns: list[_Turn]) -> list[_Turn]:
    """Neighbouring turns of one role as one, since many templates want roles that alternate."""
    joined: list[_Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last and last["role"] == turn["role"] in ("user", "assistant", "system") and "tool_calls" not in last:
            joined[-1] = {**last, **turn, "content": f"{last['content']}\n\n{turn['content']}".strip()}
        else:
            joined.append(turn)
    return joined


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"the messages hold text that is not Unicode, at character {error.start} of the prompt"
        raise ValueError(msg) from error
    return text
