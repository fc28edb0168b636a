"""Deterministic doubles, for tests of applications built on this library: no model, no download, no randomness."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from persona_align.encoder import STYLE_LAYERS, Encoding, split_sentences

__all__ = ["EchoChat", "HashEncoder"]

_WORD = re.compile(r"\w+")
_LAYERS = 7


class HashEncoder:
    """An encoder that hashes words: texts that share words are near each other, and nothing else is known.

    Args:
        dimension: The length of a content embedding.

    Example:
        >>> cat, same, dog = HashEncoder().encode(["a cat", "A cat!", "two dogs"])
        >>> float(cat.content @ same.content) > 0.99 > float(cat.content @ dog.content)
        True
    """

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension

    @property
    def fingerprint(self) -> str:
        """Names the double and its dimension."""
        return f"hash-{self.dimension}"

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The encodings of texts, in order."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        sentences = tuple(text[a:b] for a, b in split_sentences(text)) or (text,)
        vectors = np.stack([self._vector(sentence) for sentence in sentences])
        content = self._vector(text)
        return Encoding(
            content=content,
            style=np.tile(content, STYLE_LAYERS),
            sentences=sentences,
            sentence_content=vectors,
            sentence_layers=np.repeat(vectors[:, None, :], _LAYERS, axis=1),
        )

    def _vector(self, text: str) -> np.ndarray:
        total = np.full(self.dimension, 1e-6, dtype=np.float32)
        for word in _WORD.findall(text.lower()):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
            total += np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
        return (total / np.linalg.norm(total)).astype(np.float32)


class EchoChat(BaseChatModel):
    """A chat model that answers with the last message it was shown, and keeps every prompt it got.

    Args:
        fail: Raise this instead of answering.

    Example:
        >>> EchoChat().invoke("Hello").content
        'Hello'
    """

    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    fail: Exception | None = None
    model_config = ConfigDict(arbitrary_types_allowed=True)

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        text = self._answer(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> Iterator[ChatGenerationChunk]:
        words = re.findall(r"\S+\s*|\s+", self._answer(messages))
        for position, word in enumerate(words):
            last = position == len(words) - 1
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word, chunk_position="last" if last else None))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk

    def _answer(self, messages: list[BaseMessage]) -> str:
        self.prompts.append(list(messages))
        if self.fail is not None:
            raise self.fail
        return str(messages[-1].text) or "(nothing)"
