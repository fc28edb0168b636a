"""A model and its tokenizer from a folder or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from persona_align.errors import UnsupportedModelError
from persona_align.hub import unreachable

__all__ = ["load"]


def load(name_or_path: str, device: Any, dtype: Any, model_kwargs: dict[str, Any] | None) -> tuple[Any, Any]:
    """A causal language model in evaluation mode, and its tokenizer.

    Args:
        name_or_path: A folder, or a name on the hub.
        device: Where to; None takes a GPU where there is one.
        dtype: "auto" keeps the checkpoint's.
        model_kwargs: Anything else that `AutoModelForCausalLM.from_pretrained` takes; a `device_map` replaces `device`.

    Raises:
        UnsupportedModelError: There is no such model, or it cannot be reached or loaded.
    """
    wishes = dict(model_kwargs or {})
    cached_only = unreachable(name_or_path)
    if cached_only:
        wishes["local_files_only"] = True
    shared = {name: wishes[name] for name in ("revision", "token", "cache_dir", "local_files_only") if name in wishes}
    try:
        with _no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **shared)
            model: Any = AutoModelForCausalLM.from_pretrained(name_or_path, dtype=dtype, **wishes)
    except (OSError, ValueError) as error:
        raise _not_loaded(str(name_or_path), cached_only, error) from error
    if "device_map" not in wishes:
        model.to(device if device is not None else _best_device())
    return model.eval(), tokenizer


def _not_loaded(name: str, cached_only: bool, error: Exception) -> UnsupportedModelError:
    if name.startswith((".", "/", "~")) and not Path(name).exists():
        return UnsupportedModelError(f"There is no model at {name}.", "Name a folder that save_pretrained wrote.")
    if cached_only:
        return UnsupportedModelError(
            f"The model {name!r} is no folder here, the hub does not answer, and no copy is in its local cache.",
            "Go online once, set HTTPS_PROXY where there is a proxy, or name a folder that save_pretrained wrote.",
        )
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return UnsupportedModelError(
        f"The model {name!r} could not be loaded: {reason}.",
        "Name a folder that save_pretrained wrote, or a causal language model on the hub.",
    )


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
