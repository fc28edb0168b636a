"""ChatTransformers: a local Hugging Face model as a LangChain chat model, steerable per request."""

import hashlib
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from persona_align.errors import UnsupportedModelError
from persona_align.models import settings as check
from persona_align.models.batching import Batcher
from persona_align.models.loading import load
from persona_align.models.prompts import render
from persona_align.models.replies import ChunkMaker, to_message
from persona_align.models.request import Request, prepare
from persona_align.models.rows import Event, Outcome
from persona_align.models.serving import Serving
from persona_align.models.settings import Settings
from persona_align.models.structured import structured
from persona_align.steering.fingerprint import model_fingerprint
from persona_align.steering.offsets import ActivationOffsets

__all__ = ["ChatTransformers"]

_FINGERPRINTS: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


class ChatTransformers(BaseChatModel):
    """A local Hugging Face causal language model as a LangChain chat model.

    Every call may carry `offsets`, `max_tokens`, `temperature`, `top_p`, `seed` and `stop` of its own; an unknown
    keyword is a TypeError. Concurrent calls, of threads or of tasks, meet in one batch, each row with its own offsets
    and settings; all chat models over one model share its queue. A client that goes away ends its reply.

    Args:
        model: A Hugging Face causal language model; nothing in it is changed.
        tokenizer: Its tokenizer. Without a chat template, a plain one is used: "User: …", "Assistant: …".
        max_tokens: Most tokens of a reply.
        temperature: 0 picks the likeliest token; higher samples.
        top_p: Sample from the likeliest tokens that together have this probability.
        stop: Texts at which a reply ends; they are cut off.
        seed: Of the sampling: the same seed gives the same reply, alone or in a batch. None takes one from torch.
        timeout: Seconds after which a call raises TimeoutError; waiting in the queue counts.
        max_retries: Accepted as one of LangChain's standard parameters; a local model has nothing to retry.
        streaming: True makes `invoke` stream to callbacks, False makes `stream` reply in one chunk.
        model_name: What responses and traces name; by default the model's own name.
        api_key: Accepted as one of LangChain's standard parameters; a local model needs none.
        max_batch: Most rows in one batch.
        max_queue: Most requests that may wait; one more raises QueueFullError.
        chat_template_kwargs: For the chat template, for example `{"enable_thinking": False}`.

    Raises:
        UnsupportedModelError: The model does not generate text.
        pydantic.ValidationError: An unknown name, or a value out of range.

    Example:
        >>> from persona_align import demo
        >>> model, tokenizer = demo.load()
        >>> chat = ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=20)
        >>> reply = chat.invoke("What should I cook tonight?")
        >>> bool(reply.text), reply.usage_metadata["output_tokens"] <= 20
        (True, True)
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(exclude=True, repr=False)
    tokenizer: Any = Field(exclude=True, repr=False)
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: list[str] | None = None
    seed: int | None = None
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = None
    streaming: bool | None = None  # not False: to LangChain, a False that was set forbids streaming
    model_name: str = ""
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    max_batch: int = Field(default=16, ge=1)
    max_queue: int = Field(default=256, ge=1)
    chat_template_kwargs: dict[str, Any] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        device: Any = None,
        dtype: Any = "auto",
        model_kwargs: dict[str, Any] | None = None,
        **generation: Any,
    ) -> Self:
        """A chat model over a folder or a hub name.

        Args:
            name_or_path: A folder, or a name on the hub, which is then downloaded.
            device: Where to load it; None takes a GPU where there is one.
            dtype: "auto" keeps the checkpoint's.
            model_kwargs: For `AutoModelForCausalLM.from_pretrained`, for example a quantisation or a `device_map`.
            **generation: Fields of this class, for example `max_tokens`.

        Raises:
            UnsupportedModelError: There is no such model, or it cannot be reached or loaded; without a network, a copy
                in the hub's local cache is used.
        """
        model, tokenizer = load(name_or_path, device, dtype, model_kwargs)
        return cls(**{"model": model, "tokenizer": tokenizer, "model_name": str(name_or_path), **generation})

    def generate_rows(
        self,
        list_of_messages: Sequence[LanguageModelInput],
        *,
        offsets: Sequence[ActivationOffsets | None] | ActivationOffsets | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """One reply for every conversation, in one batch, each with its own offsets.

        Args:
            list_of_messages: Conversations, in any form that `invoke` takes.
            offsets: One entry, or None, for every row; or one for all.
            **kwargs: What `invoke` takes. `max_tokens`, `temperature`, `top_p` and `seed` may be lists with one entry
                for every row, and so may `stop`, as a list of lists.

        Returns:
            One message for every row, in order, with its own usage.

        Raises:
            ValueError: A list whose length is not the number of rows.
        """
        count = len(list_of_messages)
        wishes = [
            self._prepare(
                self._convert_input(messages).to_messages(),
                {name: _entry(name, value, row, count) for name, value in {**kwargs, "offsets": offsets}.items()},
            )
            for row, messages in enumerate(list_of_messages)
        ]
        outcomes = self._serving.outcomes(wishes)
        return [self._message(outcome, wish) for outcome, wish in zip(outcomes, wishes, strict=True)]

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Replies to many inputs, in batches of up to `max_batch` rows."""
        configs = self._wide(config, len(inputs))
        with Batcher.of(self.model).coming(min(len(inputs), self.max_batch)):
            return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """The same without blocking the event loop."""
        configs = self._wide(config, len(inputs))
        with Batcher.of(self.model).coming(min(len(inputs), self.max_batch)):
            return await super().abatch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,  # noqa: ARG002
        parallel_tool_calls: bool | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The same model with tools, through its chat template where that knows tools, else by an instruction.

        Args:
            tools: Anything LangChain takes for a tool.
            tool_choice: A tool's name, "any", "auto", "none", or True for "any". The model is asked; it is not forced.
            strict: Accepted for other models' sake; a local model gives no guarantee.
            parallel_tool_calls: Likewise.
            **kwargs: Bound as they are.
        """
        written = [convert_to_openai_tool(tool) for tool in tools]
        choice: Any = tool_choice
        if isinstance(choice, bool):
            choice = "any" if choice else None
        elif isinstance(choice, dict):
            choice = choice.get("function", choice).get("name")
        return self.bind(tools=written, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str = "json_schema",
        strict: bool | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The same model, replying with objects of `schema`.

        Args:
            schema: A pydantic class, a TypedDict, a JSON schema or a tool in OpenAI's format.
            include_raw: Give `raw`, `parsed` and `parsing_error` instead of the object.
            method: "json_schema" shows the model the schema, "json_mode" only asks for JSON, "function_calling" offers
                the schema as a tool.
            strict: Accepted for other models' sake; a local model gives no guarantee.
            **kwargs: None are known.

        Raises:
            ValueError: An unknown method or keyword.
        """
        if kwargs:
            msg = f"with_structured_output does not know {', '.join(sorted(kwargs))}"
            raise ValueError(msg)
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw)
        return structured(self, schema, method=method, include_raw=include_raw)

    def get_token_ids(self, text: str) -> list[int]:
        """The model's own tokens of a text, without special ones added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """How many tokens a conversation takes as a prompt, chat template and tools included."""
        written = [convert_to_openai_tool(tool) for tool in tools or ()]
        text = render(self.tokenizer, messages, tools=written, template_kwargs=self.chat_template_kwargs)
        return len(self.get_token_ids(text))

    @property
    def _llm_type(self) -> str:
        return "persona-align-transformers"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """What LangChain's cache tells two models apart by."""
        template = str(self.tokenizer.chat_template).encode(errors="surrogatepass")
        return {
            "model_name": self.model_name,
            "fingerprint": _fingerprint(self.model),
            "chat_template": hashlib.sha256(template).hexdigest()[:16],
            "chat_template_kwargs": self.chat_template_kwargs,
            **{name: getattr(self, name) for name in ("max_tokens", "temperature", "top_p", "stop", "seed")},
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._serving.start(partial(self._prepare, messages, {**kwargs, "stop": stop}), streaming=False)
        (outcome,) = reply.events()
        return self._result(outcome, reply.request)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        reply = await self._serving.astart(partial(self._prepare, messages, {**kwargs, "stop": stop}), streaming=False)
        async with aclosing(reply.aevents()) as events:
            (outcome,) = [event async for event in events]
        return self._result(outcome, reply.request)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._serving.start(partial(self._prepare, messages, {**kwargs, "stop": stop}), streaming=True)
        maker = ChunkMaker(reply.request, model_name=self.model_name, tokenizer=self.tokenizer)
        with closing(reply.events()) as events:
            for event in events:
                yield from maker.chunks(event)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = await self._serving.astart(partial(self._prepare, messages, {**kwargs, "stop": stop}), streaming=True)
        maker = ChunkMaker(reply.request, model_name=self.model_name, tokenizer=self.tokenizer)
        async with aclosing(reply.aevents()) as events:
            async for event in events:
                for chunk in maker.chunks(event):
                    yield chunk

    @property
    def _serving(self) -> Serving:
        return Serving(
            model=self.model,
            tokenizer=self.tokenizer,
            timeout=self.timeout,
            max_batch=self.max_batch,
            max_queue=self.max_queue,
        )

    def _prepare(self, messages: Sequence[BaseMessage], keywords: Mapping[str, Any]) -> Request:
        defaults = Settings(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=tuple(self.stop or ()),
            seed=self.seed,
        )
        return prepare(
            self.model, self.tokenizer, messages, defaults, keywords, template_kwargs=self.chat_template_kwargs
        )

    def _result(self, outcome: Event, request: Request) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._message(outcome, request))])

    def _message(self, outcome: Event, request: Request) -> AIMessage:
        if not isinstance(outcome, Outcome):
            msg = "the reply ended without an outcome"
            raise TypeError(msg)
        return to_message(outcome, request, model_name=self.model_name, tokenizer=self.tokenizer)

    def _wide(self, config: RunnableConfig | list[RunnableConfig] | None, count: int) -> list[RunnableConfig]:
        """Configs under which as many calls run at once as fill a batch and the one after it."""
        return [
            {**one, "max_concurrency": one.get("max_concurrency") or min(2 * self.max_batch, self.max_queue)}
            for one in get_config_list(config, count)
        ]

    @field_validator("max_tokens", "temperature", "top_p", "seed", "stop", mode="before")
    @classmethod
    def _in_range(cls, value: Any, info: Any) -> Any:
        checked = value if value is None else getattr(check, f"check_{info.field_name}")(value)
        return list(checked) if info.field_name == "stop" and checked is not None else checked

    @model_validator(mode="after")
    def _can_generate(self) -> Self:
        config = getattr(self.model, "config", None)
        if not callable(getattr(self.model, "generate", None)) or config is None or config.is_encoder_decoder:
            raise UnsupportedModelError(
                f"{type(self.model).__name__} is not a causal language model that generates text.",
                "Pass what AutoModelForCausalLM.from_pretrained gives, or use ChatTransformers.from_pretrained.",
            )
        if not self.model_name:
            self.model_name = getattr(config, "_name_or_path", "") or type(self.model).__name__
        return self


def _entry(name: str, value: Any, row: int, count: int) -> Any:
    """The value of one row, where a list holds one for each."""
    if not isinstance(value, list | tuple) or name in ("tools",):
        return value
    if name == "stop" and all(isinstance(text, str) for text in value):
        return value
    if len(value) != count:
        msg = f"{name} has {len(value)} entries for {count} rows"
        raise ValueError(msg)
    return value[row]


def _fingerprint(model: Any) -> str:
    known = _FINGERPRINTS.get(model)
    if known is None:
        try:
            known = model_fingerprint(model)
        except UnsupportedModelError:  # it can be talked to, if not steered
            known = f"{type(model).__name__}-{id(model)}"
        _FINGERPRINTS[model] = known
    return known
