"""What an offset adds to a projection's output, found by calling the projection, never by reading its weights."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering.offsets import ActivationOffsets

__all__ = ["Contributions", "contribution_of"]

_LIMIT = 256 * 2**20


class Contributions:
    """The contributions of recently used offsets, one tensor a layer, within a bound on their bytes.

    Adding `W @ offset` to a projection's output equals adding the offset to its input. It is the module's value at the
    offset less its value at zero, which also holds for quantised weights, adapters and layers on several devices.

    Args:
        modules: The output projections in layer order.
        dtype: The model's, for projections whose packed weights do not tell it.
        limit: Bytes kept; the least recently used offsets leave first.
    """

    def __init__(self, modules: Sequence[nn.Module], *, dtype: torch.dtype, limit: int = _LIMIT) -> None:
        self._modules = tuple(modules)
        self._dtype = dtype
        self._limit = limit
        self._kept: OrderedDict[str, tuple[torch.Tensor, ...]] = OrderedDict()
        self._bytes = 0
        self._weights: tuple[object, ...] = ()
        self._lock = threading.Lock()

    def of(self, offsets: ActivationOffsets) -> tuple[torch.Tensor, ...]:
        """What `offsets` adds to each layer's output: [width] tensors on the layers' devices.

        Raises:
            IncompatibleOffsetsError: The contribution overflows the model's dtype.
        """
        weights = tuple(_state(module) for module in self._modules)
        key = offsets.content_hash
        with self._lock:
            if weights != self._weights:  # trained on, moved or cast since: what was computed no longer holds
                self._kept.clear()
                self._bytes, self._weights = 0, weights
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._compute(offsets)
        with self._lock:
            if weights == self._weights and key not in self._kept:
                self._kept[key] = made
                self._bytes += _size(made)
                while self._bytes > self._limit and len(self._kept) > 1:
                    self._bytes -= _size(self._kept.popitem(last=False)[1])
        return made

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def _compute(self, offsets: ActivationOffsets) -> tuple[torch.Tensor, ...]:
        values = torch.from_numpy(offsets.values.copy()).flatten(1)
        with torch.inference_mode(False), torch.no_grad():
            made = tuple(
                contribution_of(module, row, dtype=self._dtype).flatten()
                for module, row in zip(self._modules, values, strict=True)
            )
            finite = torch.stack([part.isfinite().all().cpu() for part in made])
        if not finite.all():
            raise IncompatibleOffsetsError(
                f"The offsets overflow {made[0].dtype} in {int((~finite).sum())} of {len(made)} layers.",
                "Use a smaller strength.",
            )
        return made


def contribution_of(module: nn.Module, offset: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """What adding an offset to a module's input adds to its output.

    Args:
        module: A linear module: nn.Linear, Conv1D, a quantised or adapted form.
        offset: [..., heads * head_dim]; gradients flow through.
        dtype: Used where the module's own parameters do not tell.

    Returns:
        [..., width], in the module's dtype and on its device.
    """
    held = next(chain(module.parameters(), module.buffers()), None)
    if held is not None:
        if held.is_floating_point() and held.element_size() > 1:  # packed weights do not tell what they compute in
            dtype = held.dtype
        if not held.is_meta:  # offloaded weights are, and their module moves its input by itself
            offset = offset.to(held.device)
    rows = offset.to(dtype).reshape(1, -1, offset.shape[-1])
    entering = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)
    with torch.autocast(entering.device.type, enabled=False):
        # `forward` and not a call: hooks, ours among them, have no business here.
        leaving = module.forward(entering)
    moved: torch.Tensor = leaving[:, :-1] - leaving[:, -1:]
    return moved.reshape(*offset.shape[:-1], -1)


def _state(module: nn.Module) -> tuple[object, ...]:
    return tuple(
        (held.data_ptr(), -1 if held.is_inference() else held._version, held.dtype)
        for held in chain(module.parameters(), module.buffers())
        if not held.is_meta
    )


def _size(parts: Sequence[torch.Tensor]) -> int:
    return sum(part.nbytes for part in parts)
