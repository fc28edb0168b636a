"""Which alignment modes a model can take, and what each needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from persona_align.conditioning.budget import approximate_tokens
from persona_align.errors import IncompatibleOffsetsError, UnsupportedModeError

__all__ = ["MODES", "Resolved", "resolve", "steerable_chat"]

MODES = ("auto", "ica", "pba", "pas", "rerank", "off")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A mode that works with the wrapped model.

    Args:
        mode: "auto" only where it steers; a model that cannot be steered resolves it to "pba".
        chat: The ChatTransformers in the wrapped model: it takes offsets, a temperature and a seed per call.
        basis: The steering basis, where the mode steers.
        reason: Why this mode, in a sentence for the log.
        count_tokens: Counts tokens as the model does, where that is known.
    """

    mode: str
    chat: Any
    basis: Any
    reason: str
    count_tokens: Callable[[str], int]


def resolve(model: Any, mode: str, basis: Any) -> Resolved:
    """The mode to use.

    Raises:
        UnsupportedModeError: There is no such mode, or the model cannot take it; the message names those that can.
    """
    if mode not in MODES:
        raise UnsupportedModeError(f"There is no mode {mode!r}.", f"Use one of {', '.join(map(repr, MODES))}.")
    chat = steerable_chat(model)
    count = approximate_tokens if chat is None else _counter(chat.tokenizer)
    steers = mode in ("auto", "pas")
    if steers and chat is not None:
        basis = basis if basis is not None else _basis_of(chat)
    if mode == "pas" and chat is None:
        raise UnsupportedModeError(
            f"mode='pas' steers a model's activations, and {type(model).__name__} gives no access to them.",
            "Use mode='pba', 'ica', 'rerank' or 'auto', or wrap a ChatTransformers model.",
        )
    if mode == "pas" and basis is None:
        raise UnsupportedModeError(
            "mode='pas' needs a steering basis for this model, and none was given, shipped or cached.",
            "Fit one with SteeringBasis.fit(chat.model, chat.tokenizer) and pass basis=…, or use mode='pba' or 'ica'.",
        )
    if mode == "auto" and (chat is None or basis is None):
        missing = "the model gives no access to its activations" if chat is None else "there is no basis for the model"
        return Resolved(mode="pba", chat=chat, basis=None, reason=f"auto, and {missing}", count_tokens=count)
    reason = "auto, and the model has a steering basis" if mode == "auto" else "asked for"
    return Resolved(mode=mode, chat=chat, basis=basis if steers else None, reason=reason, count_tokens=count)


def steerable_chat(model: Any) -> Any:
    """The ChatTransformers inside a model, also through `bind` and `with_retry`; None where there is none."""
    from langchain_core.runnables.base import RunnableBindingBase

    while isinstance(model, RunnableBindingBase):
        model = model.bound
    if not any(base.__name__ == "ChatTransformers" for base in type(model).__mro__):
        return None  # told by name first, so that a remote model does not cost an import of torch
    from persona_align.models import ChatTransformers

    return model if isinstance(model, ChatTransformers) else None


def _counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _basis_of(chat: Any) -> Any:
    """The basis that ships for the model, else one that was cached for it, else None."""
    from persona_align.demo import basis_folder
    from persona_align.steering import SteeringBasis

    try:
        return SteeringBasis.from_pretrained(basis_folder(), chat.model)
    except IncompatibleOffsetsError:
        return SteeringBasis.cached(chat.model)
