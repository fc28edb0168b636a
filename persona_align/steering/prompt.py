"""Where the prompt ends and generation begins, seen from inside a forward pass."""

import inspect
import sys
from collections.abc import Collection, Sequence
from types import FrameType

import torch
from transformers import GenerationMixin

from persona_align.steering.offsets import Positions
from persona_align.steering.session import Pass

__all__ = ["Prompt"]

_GENERATE = inspect.unwrap(GenerationMixin.generate).__code__


class Prompt:
    """Follows the passes of one plan and tells which of their positions are steered.

    Inside `generate` the prompt is what `generate` was called with: read from its frame, because a chunk of the prompt,
    a token of the answer and a batch of speculated tokens look alike from inside the model. Elsewhere the first
    pass over an empty cache is the prompt and every later one is the answer, unless the caller told the length.

    Args:
        positions: One entry a row.
        length: Tokens of the prompt, padding included, where the caller knows.
        models: Ids of the objects whose `generate` runs the steered layers: the model, or an adapter around it.
    """

    def __init__(self, positions: Sequence[Positions], length: int | None, models: Collection[int]) -> None:
        self._positions = positions
        self._told = length
        self._models = models
        self._end = 0
        self._seen = 0

    def steered(self, passing: Pass) -> torch.Tensor | None:
        """Which positions of a pass are steered: bool [batch, positions, 1], or None for all of them."""
        batch, length = passing.inputs.shape[:2]
        start = self._start(passing.past, length)
        self._seen = start + length
        end = self._prompt_end(start, length)
        if start >= end:
            return None
        device = passing.inputs.device
        repeats = batch // len(self._positions)
        last = _last_real(passing.padding, end, batch, device) if "last_prompt_onward" in self._positions else None
        begins = torch.empty((batch, 1), dtype=torch.long, device=device)
        for row, where in enumerate(self._positions):
            own = slice(row * repeats, (row + 1) * repeats)
            begins[own] = (
                last[own] if where == "last_prompt_onward" and last is not None else 0 if where == "all" else end
            )
        return (torch.arange(start, start + length, device=device) >= begins).unsqueeze(-1)

    def _start(self, past: int | torch.Tensor, length: int) -> int:
        if not isinstance(past, torch.Tensor):
            return past
        # A static cache counts on its device. Reading that once a prompt is fine, once a token would stall a GPU.
        if past.device.type != "cpu" and self._seen and length == 1:
            return self._seen
        return int(past)

    def _prompt_end(self, start: int, length: int) -> int:
        if self._told is not None:
            return self._told
        generating = _length_in_generate(self._models)
        if generating is not None:
            return generating
        if not self._end or start == 0:
            self._end = start + length
        return self._end


def _last_real(padding: torch.Tensor | None, end: int, batch: int, device: torch.device) -> torch.Tensor:
    """The index of each row's last token of the prompt that is not padding: [batch, 1]."""
    if padding is None or padding.shape[1] < end:
        return torch.full((batch, 1), end - 1, device=device)
    return (end - 1 - padding[:, :end].ne(0).flip(1).int().argmax(dim=1, keepdim=True)).to(device)


def _length_in_generate(models: Collection[int]) -> int | None:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is _GENERATE and id(frame.f_locals.get("self")) in models:
            held = (frame.f_locals.get("input_ids"), frame.f_locals.get("inputs_tensor"))
            return max((t.shape[1] for t in held if isinstance(t, torch.Tensor) and t.dim() > 1), default=None)
        frame = frame.f_back
    return None
