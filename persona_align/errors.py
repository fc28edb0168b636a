"""One small tree of errors; every message says what happened and what to do about it."""

from typing import Any

__all__ = [
    "EncoderUnavailableError",
    "IncompatibleOffsetsError",
    "IncompatibleStoreError",
    "InvalidRecordError",
    "MissingExtraError",
    "MissingUserError",
    "PersonaAlignError",
    "QueueFullError",
    "StoreUnavailableError",
    "UnknownDimensionError",
    "UnsupportedModeError",
    "UnsupportedModelError",
    "require_user",
]


class PersonaAlignError(Exception):
    """Root of everything this library raises on purpose.

    Args:
        message: What happened.
        remedy: What the reader can do about it, as a full sentence.

    Example:
        >>> str(PersonaAlignError("The folder is locked.", "Close the other process."))
        'The folder is locked. Close the other process.'
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class MissingUserError(PersonaAlignError):
    """A call named no user, so nothing was read or written."""


class InvalidRecordError(PersonaAlignError):
    """A record, or a line of a file of records, cannot be accepted as it is."""


class UnknownDimensionError(PersonaAlignError):
    """A preference dimension that the space does not have."""


class IncompatibleStoreError(PersonaAlignError):
    """A memory folder was made with another encoder, a newer version, or is not a memory folder."""


class StoreUnavailableError(PersonaAlignError):
    """The memory cannot be reached or written: no server, no disk space, no permission, another process."""


class EncoderUnavailableError(PersonaAlignError):
    """No text encoder could be loaded."""


class MissingExtraError(PersonaAlignError, ImportError):
    """A feature needs an optional package; the message names the pip command."""


class UnsupportedModelError(PersonaAlignError):
    """A model cannot be steered, or is not of the kind that a call needs."""


class UnsupportedModeError(PersonaAlignError):
    """An alignment mode cannot work with the wrapped model; the message names those that can."""


class IncompatibleOffsetsError(PersonaAlignError):
    """Activation offsets of another model or geometry, or offsets that are not finite."""


class QueueFullError(PersonaAlignError):
    """More requests are waiting than the queue was set to hold."""


def require_user(user_id: Any) -> str:
    """The user's id as it came.

    Raises:
        MissingUserError: It is missing, empty, blank or no string.

    Example:
        >>> require_user("ada")
        'ada'
    """
    if not isinstance(user_id, str) or not user_id.strip():
        raise MissingUserError(
            "No user was named, so nothing was read or written.",
            'Name one: config={"configurable": {"user_id": "ada"}}, or a non-empty user_id argument.',
        )
    return user_id
