"""Where records are kept: append, read, retrieve, and forget one user's."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_align.memory.entry import Entry
    from persona_align.memory.erasure import Receipt
    from persona_align.memory.history import History
    from persona_align.memory.retrieval import Retrieved, retrieve
    from persona_align.memory.store import Memory

__all__ = ["Entry", "History", "Memory", "Receipt", "Retrieved", "retrieve"]

_HOMES = {
    "Entry": "entry",
    "History": "history",
    "Memory": "store",
    "Receipt": "erasure",
    "Retrieved": "retrieval",
    "retrieve": "retrieval",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
