"""A plan: which offsets each row of a forward pass gets."""

from collections.abc import Collection, Sequence

import torch

from persona_align.errors import UnsupportedModelError
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.prompt import Prompt
from persona_align.steering.session import Pass, Session, check_rows

__all__ = ["RowPlan"]


class RowPlan(Session):
    """Adds each row's contribution to what leaves the projections.

    A row without offsets gets minus zero, the one number whose addition changes no bit of any float. So steered and
    unsteered rows take one path, and an unsteered row is bit for bit what it is in a batch that nobody steers.

    Args:
        rows: One entry a row; None is unsteered.
        contributions: For each row the tensors [width] of all layers, or None; one at least is not.
        prompt_length: Tokens of the prompt, padding included, where the caller knows.
        models: Ids of the objects whose `generate` runs the steered layers.
    """

    def __init__(
        self,
        rows: Sequence[ActivationOffsets | None],
        contributions: Sequence[tuple[torch.Tensor, ...] | None],
        prompt_length: int | None,
        models: Collection[int],
    ) -> None:
        self._rows = len(rows)
        self._table = _stack(contributions)
        positions = ["all" if row is None else row.positions for row in rows]
        everywhere = all(where == "all" for where in positions)
        self._prompt = None if everywhere else Prompt(positions, prompt_length, models)
        self._mask: torch.Tensor | None = None
        self._expanded: dict[tuple[int, torch.dtype], list[torch.Tensor | None]] = {}
        self._reached: set[int] = set()

    def begin(self, passing: Pass, /) -> None:
        """Check the batch before any layer runs, and find which of its positions are steered."""
        check_rows(self._rows, passing.inputs.shape[0])
        if self._prompt is not None:
            self._mask = self._prompt.steered(passing)

    def through(self, layer: int, _entering: torch.Tensor | None, output: torch.Tensor, /) -> torch.Tensor:
        """What leaves the projection of `layer`, each row with its own contribution."""
        self._reached.add(layer)
        added = self._added(layer, output)
        if self._mask is not None:
            if self._mask.shape[:2] != output.shape[:2]:
                raise UnsupportedModelError(
                    f"Layer {layer} sees {list(output.shape[:2])} rows and positions in a pass of "
                    f"{list(self._mask.shape[:2])}.",
                    'Use offsets for the positions "all".',
                )
            added = torch.where(self._mask.to(output.device), added, -0.0)
        return output + added

    def check_reached(self) -> None:
        """Say so where a layer never met the plan, rather than answer unsteered.

        Raises:
            UnsupportedModelError: At least one projection was never called.
        """
        missed = [layer for layer in range(len(self._table)) if layer not in self._reached]
        if missed:
            which = f"The projections of layers {missed}" if self._reached else "The model's layers"
            raise UnsupportedModelError(
                f"{which} never met this plan, so what came out is not steered as planned.",
                "Call the model that was given to SteeredModel.of, with fused attention switched off.",
            )

    def _added(self, layer: int, output: torch.Tensor) -> torch.Tensor:
        key = (output.shape[0], output.dtype)
        tables = self._expanded.get(key)
        if tables is None:
            check_rows(self._rows, output.shape[0])
            tables = self._expanded[key] = [None] * len(self._table)
        added = tables[layer]
        if added is None:
            added = self._table[layer].to(device=output.device, dtype=output.dtype)
            # generate() repeats each row for its beams and return sequences, side by side.
            added = added.repeat_interleave(output.shape[0] // self._rows, dim=0).unsqueeze(1)
            tables[layer] = added
        return added


def _stack(contributions: Sequence[tuple[torch.Tensor, ...] | None]) -> list[torch.Tensor]:
    some = next(parts for parts in contributions if parts is not None)
    neutral = [torch.full_like(part, -0.0) for part in some]
    return [
        torch.stack([nothing if parts is None else parts[layer] for parts in contributions])
        for layer, nothing in enumerate(neutral)
    ]
