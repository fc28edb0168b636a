"""Local Hugging Face models as LangChain chat models, steerable per request and batched across users."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_align.models.chat import ChatTransformers

__all__ = ["ChatTransformers"]


def __getattr__(name: str) -> Any:
    # transformers takes seconds to import: only those who run a local model pay for it.
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.chat"), name)
