"""A model and its tokenizer from a folder or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

__all__ = ["load"]


def load(name_or_path: str, device: Any, dtype: Any, model_kwargs: dict[str, Any] | None) -> tuple[Any, Any]:
    """A causal language model in evaluation mode, and its tokenizer.

    Args:
        name_or_path: A folder, or a name on the hub.
        device: Where to; None takes a GPU where there is one.
        dtype: "auto" keeps the checkpoint's.
        model_kwargs: Anything else that `AutoModelForCausalLM.from_pretrained` takes; a `device_map` replaces `device`.
    """
    wishes = dict(model_kwargs or {})
    shared = {name: wishes[name] for name in ("revision", "token", "cache_dir", "local_files_only") if name in wishes}
    with _no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **shared)
        model: Any = AutoModelForCausalLM.from_pretrained(name_or_path, dtype=dtype, **wishes)
    if "device_map" not in wishes:
        model.to(device if device is not None else _best_device())
    return model.eval(), tokenizer


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    bars: Any = logging  # its functions have no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
