"""What an offset adds to a projection's output, found by calling the projection, never by reading its weights."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

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
        limit: Bytes kept; the least recently used offsets leave first.
    """

    def __init__(self, modules: Sequence[nn.Module], *, limit: int = _LIMIT) -> None:
        self._modules = tuple(modules)
        self._limit = limit
        self._kept: OrderedDict[str, tuple[torch.Tensor, ...]] = OrderedDict()
        self._bytes = 0
        self._weights: tuple[object, ...] = ()
        self._lock = threading.Lock()

    def of(self, offsets: ActivationOffsets) -> tuple[torch.Tensor, ...]:
        """What `offsets` adds to each layer's output: [width] tensors on the layers' devices."""
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
                self._bytes += sum(part.nbytes for part in made)
                while self._bytes > self._limit and len(self._kept) > 1:
                    _, dropped = self._kept.popitem(last=False)
                    self._bytes -= sum(part.nbytes for part in dropped)
        return made

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def _compute(self, offsets: ActivationOffsets) -> tuple[torch.Tensor, ...]:
        values = torch.from_numpy(offsets.values.copy()).flatten(1)
        with torch.inference_mode(False), torch.no_grad():
            made = tuple(
                contribution_of(module, row).flatten() for module, row in zip(self._modules, values, strict=True)
            )
        for layer, part in enumerate(made):
            if not part.isfinite().all():
                raise IncompatibleOffsetsError(
                    f"The offsets are too large for {part.dtype}: layer {layer} overflows.", "Use a smaller strength."
                )
        return made


def contribution_of(module: nn.Module, offset: torch.Tensor) -> torch.Tensor:
    """What adding `offset` [..., heads * head_dim] to the module's input adds to its output [..., width]."""
    place = _sample(module)
    if place is not None:
        offset = offset.to(device=place.device, dtype=place.dtype)
    rows = offset.reshape(1, -1, offset.shape[-1])
    entering = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)
    with torch.autocast(entering.device.type, enabled=False):
        # `forward` and not a call: hooks, ours among them, have no business here.
        leaving = module.forward(entering)
    moved: torch.Tensor = leaving[:, :-1] - leaving[:, -1:]
    return moved.reshape(*offset.shape[:-1], -1)


def _sample(module: nn.Module) -> torch.Tensor | None:
    """A parameter that tells the module's device and dtype; packed quantised weights do not tell a dtype."""
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.element_size() > 1 and not parameter.is_meta:
            return parameter
    return None


def _state(module: nn.Module) -> tuple[object, ...]:
    return tuple(
        (parameter.data_ptr(), -1 if parameter.is_inference() else parameter._version, parameter.dtype)
        for parameter in module.parameters()
        if not parameter.is_meta
    )
