"""Recording what the attention heads put out, and adding to it with gradients."""

from collections.abc import Sequence

import torch
from torch import nn

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering.contributions import contribution_of
from persona_align.steering.offsets import Geometry
from persona_align.steering.session import Pass, Session, check_rows

__all__ = ["Captured", "Injection"]


class Captured(Session):
    """The head outputs of the last forward pass inside a capture.

    Args:
        geometry: Layers, heads and head dimension of the model.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._layers: dict[int, torch.Tensor] = {}

    @property
    def heads(self) -> list[torch.Tensor]:
        """One detached tensor [batch, positions, heads, head_dim] a layer: the last pass's, in the model's dtype.

        Raises:
            UnsupportedModelError: No forward pass ran inside the capture.
        """
        if len(self._layers) < self._geometry.layers:
            raise UnsupportedModelError(
                "No complete forward pass was captured.",
                "Call the model inside the capture, not a compiled form of it.",
            )
        return [self._layers[layer] for layer in range(self._geometry.layers)]

    def begin(self, _pass: Pass, /) -> None:
        """Forget the pass before."""
        self._layers = {}

    def through(self, layer: int, entering: torch.Tensor | None, output: torch.Tensor, /) -> torch.Tensor:
        """Keep what enters the projection of `layer`."""
        if entering is None:
            raise _compiled("captured")
        shape = (*entering.shape[:-1], self._geometry.heads, self._geometry.head_dim)
        self._layers[layer] = entering.detach().reshape(shape)
        return output


class Injection(Session):
    """Adds a tensor to every head's output so that gradients flow back to it.

    Args:
        tensor: [rows or 1, layers, heads, head_dim], finite.
        modules: The output projections in layer order.
        geometry: Of the model.

    Raises:
        IncompatibleOffsetsError: Another shape, or values that are not finite.
    """

    def __init__(self, tensor: torch.Tensor, modules: Sequence[nn.Module], geometry: Geometry) -> None:
        if tensor.dim() != 4 or tuple(tensor.shape[1:]) != geometry.shape or not len(tensor):
            raise IncompatibleOffsetsError(
                f"An injected tensor has the shape [rows, {', '.join(map(str, geometry.shape))}], "
                f"not {list(tensor.shape)}.",
                "Take the shape from SteeredModel.of(hf_model).geometry.shape.",
            )
        if not tensor.detach().isfinite().all():
            raise IncompatibleOffsetsError(
                "The injected tensor holds values that are not finite.", "Take smaller steps."
            )
        self._tensor = tensor
        self._modules = tuple(modules)

    def begin(self, passing: Pass, /) -> None:
        """Check the batch before any layer runs."""
        check_rows(len(self._tensor), passing.inputs.shape[0])

    def through(self, layer: int, entering: torch.Tensor | None, output: torch.Tensor, /) -> torch.Tensor:
        """What leaves the projection of `layer` with the tensor's contribution added."""
        if entering is None:
            raise _compiled("injected into")
        added = contribution_of(self._modules[layer], self._tensor[:, layer].flatten(1), dtype=entering.dtype)
        added = added.repeat_interleave(output.shape[0] // len(added), dim=0).unsqueeze(1)
        return output + added.to(device=output.device, dtype=output.dtype)


def _compiled(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Compiled code cannot be {what}.", "Call the model itself, not a compiled form of it."
    )
