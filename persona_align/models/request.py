"""From messages and a call's keywords to what one row of a batch needs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import BaseMessage

from persona_align.errors import IncompatibleOffsetsError, PersonaAlignError
from persona_align.models.prompts import PLAIN_STOP, render
from persona_align.models.rounds import end_tokens
from persona_align.models.rows import Deliver, Row
from persona_align.models.settings import Settings
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.steered import SteeredModel

__all__ = ["PromptTooLongError", "Request", "prepare"]

_SETTINGS: Final = ("max_tokens", "temperature", "top_p", "seed")
_KEYWORDS: Final = (*_SETTINGS, "stop", "offsets", "tools", "tool_choice", "response_format")
_CONTROLS: Final = ("stream",)  # LangChain's own, of no meaning to a model


class PromptTooLongError(PersonaAlignError, ContextOverflowError):
    """The prompt alone fills the model's context, or more."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call, checked: what to read, how to reply.

    Args:
        prompt: Token ids.
        text: The prompt as text.
        settings: How to generate.
        offsets: Steering, or None.
        tool_names: The tools on offer.
        room: Tokens that fit behind the prompt; None where the model has no limit.
    """

    prompt: list[int]
    text: str
    settings: Settings
    offsets: ActivationOffsets | None
    tool_names: tuple[str, ...]
    room: int | None

    def row(self, model: Any, tokenizer: Any, deliver: Deliver, *, streaming: bool) -> Row:
        """The row of a batch that answers this request."""
        return Row(
            self.prompt,
            self.settings,
            tokenizer=tokenizer,
            ends=end_tokens(model, tokenizer),
            offsets=self.offsets,
            streaming=streaming,
            room=self.room,
            special=bool(self.tool_names),
            deliver=deliver,
        )


def prepare(
    model: Any,
    tokenizer: Any,
    messages: Sequence[BaseMessage],
    defaults: Settings,
    keywords: Mapping[str, Any],
    *,
    template_kwargs: dict[str, Any] | None = None,
) -> Request:
    """Check a call and write its prompt.

    Args:
        model: The Hugging Face model.
        tokenizer: Its tokenizer.
        messages: The conversation.
        defaults: Settings where the call says nothing.
        keywords: The call's.
        template_kwargs: For the chat template.

    Raises:
        TypeError: An unknown keyword.
        ValueError: A value out of range, or messages that cannot be read.
        IncompatibleOffsetsError: Offsets of another model.
        PromptTooLongError: The prompt does not fit the model.
    """
    _refuse_unknown(keywords)
    settings = defaults.override({name: keywords.get(name) for name in (*_SETTINGS, "stop")})
    tools, instruction = _tools(keywords.get("tools"), keywords.get("tool_choice"))
    wanted = " ".join(part for part in (instruction, _format(keywords.get("response_format"))) if part)
    text = render(tokenizer, messages, tools=tools, instruction=wanted, template_kwargs=template_kwargs)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not tokenizer.chat_template:
        settings = replace(settings, stop=(*settings.stop, *PLAIN_STOP))
    room = _room(model, len(prompt))
    if room is not None:
        settings = replace(settings, max_tokens=min(settings.max_tokens, room))
    if settings.temperature > 0 and settings.seed is None:
        settings = replace(settings, seed=int(torch.randint(2**62, ()).item()))
    return Request(
        prompt=prompt,
        text=text,
        settings=settings,
        offsets=_offsets(model, keywords.get("offsets")),
        tool_names=tuple(tool["function"]["name"] for tool in tools),
        room=room,
    )


def _refuse_unknown(keywords: Mapping[str, Any]) -> None:
    unknown = sorted(set(keywords) - {*_KEYWORDS, *_CONTROLS})
    if unknown:
        hint = " Did you mean max_tokens?" if "max_new_tokens" in unknown else ""
        msg = f"unknown keywords: {', '.join(unknown)}.{hint} A call takes {', '.join(_KEYWORDS)}"
        raise TypeError(msg)


def _offsets(model: Any, offsets: Any) -> ActivationOffsets | None:
    if offsets is None:
        return None
    if not isinstance(offsets, ActivationOffsets):
        msg = f"offsets must be ActivationOffsets or None, not {type(offsets).__name__}"
        raise TypeError(msg)
    steered = SteeredModel.of(model)
    if (offsets.fingerprint, offsets.geometry) != (steered.fingerprint, steered.geometry):
        # Found here and not in the round, so that nobody else's reply has to be made again.
        raise IncompatibleOffsetsError(
            f"The offsets belong to the model {offsets.fingerprint}, and this model is {steered.fingerprint}.",
            "Load the model they were computed on, or compute them again on this one.",
        )
    return None if offsets.is_zero else offsets


def _room(model: Any, prompt: int) -> int | None:
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    if prompt >= limit:
        raise PromptTooLongError(
            f"The prompt has {prompt} tokens, and the model reads {limit} together with its reply.",
            "Shorten the conversation or use a model with a longer context.",
        )
    return limit - prompt


def _tools(
    tools: Sequence[dict[str, Any]] | None, choice: str | dict[str, Any] | None
) -> tuple[list[dict[str, Any]], str]:
    offered = list(tools or ())
    if isinstance(choice, dict):  # as OpenAI's API writes it
        choice = str(choice.get("function", choice).get("name"))
    if not offered or choice == "none":
        return [], ""
    if choice in (None, "auto"):
        return offered, ""
    if choice in ("any", "required"):
        return offered, "Reply by calling one of the tools."
    named = [tool for tool in offered if tool["function"]["name"] == choice]
    if not named:
        msg = f"tool_choice names {choice!r}, and the tools are {[tool['function']['name'] for tool in offered]}"
        raise ValueError(msg)
    return named, f"Reply by calling the tool {choice}."


def _format(wanted: Mapping[str, Any] | None) -> str:
    if wanted is None:
        return ""
    kind = wanted.get("type")
    if kind == "json_object":
        return "Answer with one JSON object and nothing else."
    if kind == "json_schema":
        schema = json.dumps(wanted["json_schema"]["schema"], ensure_ascii=False)
        return f"Answer with one JSON object and nothing else. It must follow this JSON schema:\n{schema}"
    if kind == "text":
        return ""
    msg = f"response_format must have the type json_object, json_schema or text, not {kind!r}"
    raise ValueError(msg)
