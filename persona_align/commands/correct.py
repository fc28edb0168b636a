"""`persona-align correct` and `release`: a dimension set by hand, and given back."""

from typing import TYPE_CHECKING, Annotated

import typer

from persona_align.commands.console import print_json
from persona_align.commands.opening import named, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, DimensionKey, Encoder, Store, User
from persona_align.errors import PersonaAlignError

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner

__all__ = ["correct", "release"]


def correct(
    user: User,
    dimension: DimensionKey,
    value: Annotated[
        float, typer.Argument(metavar="VALUE", min=-1.0, max=1.0, help="From -1 (low pole) to 1 (high pole).")
    ],
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Set a dimension by hand. It stays so, whatever is recorded later, until `release`.

    Example: persona-align correct ada humor -0.5
    """
    named(user)
    with opened(store, encoder, new=True) as aligner:
        aligner.correct(user, dimension, value)
        reading = aligner.preferences(user)[dimension]
    _tell(user, dimension, reading.value, reading.confidence, "is now", as_json)


def release(
    user: User, dimension: DimensionKey, store: Store = DEFAULT_STORE, encoder: Encoder = None, as_json: AsJson = False
) -> None:
    """Give a dimension that was set by hand back to what the records tell."""
    named(user)
    with opened(store, encoder) as aligner:
        if not _is_set(aligner, user, dimension):
            raise PersonaAlignError(
                f"{dimension} of {user} was not set by hand.", f"`persona-align show {user}` shows what is known."
            )
        aligner.release(user, dimension)
        reading = aligner.preferences(user)[dimension]
    _tell(user, dimension, reading.value, reading.confidence, "is inferred again:", as_json)


def _is_set(aligner: "PersonaAligner", user: str, dimension: str) -> bool:
    """Whether the last correction of a dimension is a lock."""
    from persona_align.records import Correction

    aligner.space.index(dimension)
    actions = [
        record.action
        for record in (entry.record for entry in aligner.memory.history(user).entries)
        if isinstance(record, Correction) and record.dimension == dimension
    ]
    return actions[-1:] == ["lock"]


def _tell(user: str, dimension: str, value: float, confidence: float, how: str, as_json: bool) -> None:
    if as_json:
        print_json({"user_id": user, "dimension": dimension, "value": value, "confidence": confidence})
    else:
        typer.echo(f"{dimension} of {user} {how} {value:+.2f}, confidence {confidence:.2f}.")
