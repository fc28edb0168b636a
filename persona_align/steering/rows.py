"""A plan: which offsets each row of a forward pass gets."""

from collections.abc import Sequence

import torch
from torch import nn

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.prompt import Prompt

__all__ = ["RowPlan"]


class RowPlan:
    """Adds each row's contribution to what leaves the projections.

    A row without offsets gets minus zero, the one number whose addition changes no bit of any float. So steered and
    unsteered rows take one path, and an unsteered row is bit for bit what it is in a batch that nobody steers.

    Args:
        hf_model: The model whose passes are steered.
        rows: One entry a row; None is unsteered.
        contributions: For each row the tensors [width] of all layers, or None.
        prompt_length: Tokens of the prompt, padding included, where the caller knows.
    """

    def __init__(
        self,
        hf_model: nn.Module,
        rows: Sequence[ActivationOffsets | None],
        contributions: Sequence[tuple[torch.Tensor, ...] | None],
        prompt_length: int | None,
    ) -> None:
        self._rows = len(rows)
        self._table = _stack(contributions)
        positions = ["all" if row is None else row.positions for row in rows]
        everywhere = all(where == "all" for where in positions)
        self._prompt = None if everywhere else Prompt(hf_model, positions, prompt_length)
        self._mask: torch.Tensor | None = None
        self._expanded: dict[tuple[int, torch.dtype], list[torch.Tensor | None]] = {}
        self.reached: set[int] = set()

    def begin(self, inputs: torch.Tensor, mask: torch.Tensor | None, past: int | torch.Tensor) -> None:
        """Check the batch before any layer runs, and find which of its positions are steered."""
        self._check(inputs.shape[0])
        if self._prompt is not None:
            self._mask = self._prompt.mask(inputs, mask, past)

    def through(self, layer: int, entering: torch.Tensor | None, output: torch.Tensor) -> torch.Tensor:
        """What leaves the projection of `layer`, each row with its own contribution."""
        self.reached.add(layer)
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
        """Say so where no layer ever met the plan, rather than answer unsteered."""
        if len(self.reached) < len(self._table):
            missed = sorted(set(range(len(self._table))) - self.reached)
            layers = "No layer" if not self.reached else f"The projections of layers {missed} never"
            raise UnsupportedModelError(
                f"{layers} met this plan, so the reply may not be steered.",
                "Call the model itself, with fused attention switched off, and compile it after SteeredModel.of.",
            )

    def _added(self, layer: int, output: torch.Tensor) -> torch.Tensor:
        key = (output.shape[0], output.dtype)
        tables = self._expanded.get(key)
        if tables is None:
            tables = self._expanded.setdefault(key, [None] * len(self._table))
        added = tables[layer]
        if added is None:
            self._check(output.shape[0])
            added = self._table[layer].to(device=output.device, dtype=output.dtype)
            # generate() repeats each row for its beams and return sequences, side by side.
            added = added.repeat_interleave(output.shape[0] // self._rows, dim=0).unsqueeze(1)
            tables[layer] = added
        return added

    def _check(self, batch: int) -> None:
        if batch % self._rows:
            raise IncompatibleOffsetsError(
                f"The plan has {self._rows} rows and the batch has {batch}.",
                "Give the plan one entry for every row of the batch.",
            )


def _stack(contributions: Sequence[tuple[torch.Tensor, ...] | None]) -> list[torch.Tensor]:
    some = next(parts for parts in contributions if parts is not None)
    nothing = [torch.full_like(part, -0.0) for part in some]
    return [
        torch.stack([neutral if parts is None else parts[layer] for parts in contributions])
        for layer, neutral in enumerate(nothing)
    ]
