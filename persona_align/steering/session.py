"""What happens to the forward passes inside one `with` block."""

from dataclasses import dataclass

import torch

from persona_align.errors import IncompatibleOffsetsError

__all__ = ["Pass", "Session", "Untouched", "check_rows"]


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass as it begins.

    Args:
        inputs: Token ids [batch, positions] or embeddings [batch, positions, width].
        padding: The attention mask [batch, cached + positions], where it is two-dimensional.
        past: Positions that are cached already; a static cache counts them in a tensor.
    """

    inputs: torch.Tensor
    padding: torch.Tensor | None
    past: int | torch.Tensor


class Session:
    """A pass-through: sessions override what concerns them."""

    def begin(self, _pass: Pass, /) -> None:
        """A forward pass begins; a batch that does not fit is refused here, before any layer runs."""

    def through(self, _layer: int, _entering: torch.Tensor | None, output: torch.Tensor, /) -> torch.Tensor:
        """What leaves the projection of a layer; `entering` is None in compiled code."""
        return output


class Untouched(Session):
    """A plan in which no row is steered.

    Args:
        rows: Entries of the plan.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def begin(self, passing: Pass, /) -> None:
        """Refuse a batch that the plan does not fit, as a steered plan would."""
        check_rows(self._rows, passing.inputs.shape[0])


def check_rows(rows: int, batch: int) -> None:
    """Refuse a batch that is not a whole multiple of the rows: beams and return sequences repeat each row."""
    if batch % rows:
        raise IncompatibleOffsetsError(
            f"The plan has {rows} rows and the batch has {batch}.", "Give one entry for every row of the batch."
        )
