"""Who is asking: the runtime context of a graph run says so."""

from collections.abc import Mapping
from typing import Any

from persona_align.errors import MissingUserError, require_user

__all__ = ["thread_of", "user_of"]


def user_of(runtime: Any) -> str:
    """The `user_id` in a runtime's context, which may be a mapping or an object.

    Raises:
        MissingUserError: The run has no context, or the context names no user.
    """
    context = getattr(runtime, "context", None)
    found = context.get("user_id") if isinstance(context, Mapping) else getattr(context, "user_id", None)
    try:
        return require_user(found)
    except MissingUserError as error:
        raise MissingUserError(
            error.message,
            'Give the run a context: agent.invoke(…, context={"user_id": "ada"}), with a context_schema that has it.',
        ) from None


def thread_of(runtime: Any) -> str | None:
    """The conversation of a run; None without a checkpointer."""
    info = getattr(runtime, "execution_info", None)
    return None if info is None else info.thread_id
