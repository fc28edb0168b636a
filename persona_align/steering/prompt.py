"""Where the prompt ends and generation begins, seen from inside a forward pass."""

import inspect
import sys
from collections.abc import Sequence

import torch
from torch import nn
from transformers import GenerationMixin

from persona_align.steering.offsets import Positions

__all__ = ["Prompt"]

_GENERATE = inspect.unwrap(GenerationMixin.generate).__code__


class Prompt:
    """Follows the passes of one plan and tells which of their positions are steered.

    Inside `generate` the prompt is what `generate` was called with: read from its frame, because a chunk of the prompt,
    a token of the answer and a batch of speculated tokens look alike from inside the model. Elsewhere the first
    pass over an empty cache is the prompt and every later one is the answer, unless the caller told the length.

    Args:
        hf_model: The model that generates.
        positions: One entry a row.
        length: Tokens of the prompt, padding included, where the caller knows.
    """

    def __init__(self, hf_model: nn.Module, positions: Sequence[Positions], length: int | None) -> None:
        self._model = hf_model
        self._positions = positions
        self._told = length
        self._end: int | None = None
        self._seen = 0

    def mask(self, inputs: torch.Tensor, padding: torch.Tensor | None, past: int | torch.Tensor) -> torch.Tensor | None:
        """Which positions of a pass are steered: bool [rows of the pass, positions, 1], or None for all of them."""
        rows, length = inputs.shape[:2]
        start = self._start(length, past)
        self._seen = start + length
        end = self._prompt_end(start, length)
        if start >= end:
            return None
        first = [0 if where == "all" else end for where in self._positions]
        device = inputs.device
        begins = torch.tensor(first, device=device).repeat_interleave(rows // len(first)).unsqueeze(1)
        if "last_prompt_onward" in self._positions:
            last = torch.tensor([where == "last_prompt_onward" for where in self._positions], device=device)
            last = last.repeat_interleave(rows // len(first)).unsqueeze(1)
            begins = torch.where(last, _last_real(padding, end, rows, device), begins)
        return (torch.arange(start, start + length, device=device) >= begins).unsqueeze(-1)

    def _start(self, length: int, past: int | torch.Tensor) -> int:
        # A static cache counts on its device. Reading that once a prompt is fine, once a token would stall a GPU.
        if isinstance(past, torch.Tensor):
            return self._seen if past.device.type != "cpu" and self._seen and length == 1 else int(past)
        return past

    def _prompt_end(self, start: int, length: int) -> int:
        if self._told is not None:
            return self._told
        generating = _length_in_generate(self._model)
        if generating is not None:
            return generating
        if self._end is None or start == 0:
            self._end = start + length
        return self._end


def _last_real(padding: torch.Tensor | None, end: int, rows: int, device: torch.device) -> torch.Tensor:
    """The index of each row's last token of the prompt that is not padding: [rows, 1]."""
    if padding is None or padding.shape[1] < end:
        return torch.full((rows, 1), end - 1, device=device)
    real = padding[:, :end].ne(0)
    last = end - 1 - real.flip(1).int().argmax(dim=1, keepdim=True)
    return last.to(device)


def _length_in_generate(hf_model: nn.Module) -> int | None:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is _GENERATE:
            local = frame.f_locals
            if local.get("self") is hf_model:
                lengths = [
                    tensor.shape[1]
                    for tensor in (local.get("input_ids"), local.get("inputs_tensor"))
                    if isinstance(tensor, torch.Tensor) and tensor.dim() > 1
                ]
                return max(lengths, default=None)
        frame = frame.f_back  # type: ignore[assignment]
    return None
