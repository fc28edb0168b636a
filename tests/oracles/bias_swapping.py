"""How peers steer: the offsets of the current user are state of the shared model, swapped for each request."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from persona_align.steering import ActivationOffsets, find_projections


class BiasSwapping:
    """Steers a whole model with one user's offsets at a time; right for one thread, wrong for two."""

    def __init__(self, hf_model: Any) -> None:
        self.model = hf_model
        self._modules = find_projections(hf_model).modules
        self._current: torch.Tensor | None = None
        self._handles = [
            module.register_forward_pre_hook(lambda _module, args, layer=layer: (self._add(layer, args[0]),))
            for layer, module in enumerate(self._modules)
        ]

    @contextmanager
    def steer(self, offsets: ActivationOffsets | None) -> Iterator[None]:
        """Swap in one user's offsets, for everybody who calls the model now."""
        self._current = None if offsets is None else torch.from_numpy(offsets.values.copy()).flatten(1)
        try:
            yield
        finally:
            self._current = None

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _add(self, layer: int, entering: torch.Tensor) -> torch.Tensor:
        return entering if self._current is None else entering + self._current[layer].to(entering.dtype)
