"""Opens what commands work on: a memory, and a chat model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_align.commands.console import hush, waiting
from persona_align.errors import MissingUserError, PersonaAlignError

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner
    from persona_align.models import ChatTransformers

__all__ = ["chat_model", "is_server", "named", "opened"]


def named(user: str) -> str:
    """The user as given.

    Raises:
        MissingUserError: It is empty.
    """
    if not user.strip():
        raise MissingUserError(
            "No user was named, so nothing was read or written.", "Any id will do, for instance ada."
        )
    return user


def is_server(store: str) -> bool:
    """Whether a store is a Chroma server rather than a folder."""
    return store.startswith(("http://", "https://"))


@contextmanager
def opened(store: str, encoder: str | None, *, new: bool = False, **options: Any) -> Iterator["PersonaAligner"]:
    """An aligner over a memory.

    Args:
        store: A folder or the URL of a server.
        encoder: A name or path, or None for the bundled one.
        new: Whether a folder that is not there yet is made; else the reader has mistyped its name.
        options: Passed on to `PersonaAligner.open`.

    Raises:
        PersonaAlignError: There is no such memory, or it cannot be opened.
    """
    if not (new or is_server(store) or Path(store).exists()):
        raise PersonaAlignError(
            f"There is no memory at {store}.",
            "Name another with --store, or begin one with `persona-align ingest FILE --user USER`.",
        )
    hush(encoder)
    with waiting("Opening the memory…"):
        from persona_align import PersonaAligner

        aligner = PersonaAligner.open(store, encoder=encoder, **options)
    with aligner:
        yield aligner


def chat_model(name: str | None, **generation: Any) -> "ChatTransformers":
    """The chat model of that name; None is the bundled one.

    Raises:
        UnsupportedModelError: It cannot be loaded, or is not a causal language model.
    """
    hush(name)
    with waiting("Loading the model…"):
        from persona_align import ChatTransformers

        if name is not None:
            return ChatTransformers.from_pretrained(name, **generation)
        from persona_align.demo import load

        model, tokenizer = load()
        return ChatTransformers(model=model, tokenizer=tokenizer, **generation)
