"""A short name for a checkpoint, so that offsets are never used on another model."""

import hashlib
from collections.abc import Iterator

import torch
from torch import nn

from persona_align.steering.projections import Projections, find_projections

__all__ = ["model_fingerprint"]

_SAMPLES = 64


def model_fingerprint(hf_model: nn.Module, projections: Projections | None = None) -> str:
    """A name for a model's architecture, head geometry and weights, the same in every process.

    A few values of the input embeddings and of each attention output projection are hashed after rounding to
    bfloat16, so a checkpoint has one name in float64, float32 and bfloat16. A float16 copy (which rounds differently),
    a quantised copy and one offloaded to disk (whose weights are not read) have names of their own, and so has a baked
    one, whose projections gained a bias. An adapter shares the name of the model it wraps.

    Args:
        hf_model: A Hugging Face causal language model.
        projections: Its projections, where they are already known.

    Returns:
        For example "llama-4x8x16-0d9b6fd1a2c34e5f".

    Raises:
        UnsupportedModelError: The model has no projections to steer.
    """
    found = projections or find_projections(hf_model)
    kind = getattr(getattr(hf_model, "config", None), "model_type", None) or type(hf_model).__name__.lower()
    digest = hashlib.sha256()
    for weight in _weights(hf_model, found):
        digest.update(f"{tuple(weight.shape)}|".encode())
        digest.update(_sample(weight))
    return f"{kind}-{'x'.join(map(str, found.geometry.shape))}-{digest.hexdigest()[:16]}"


def _weights(hf_model: nn.Module, projections: Projections) -> Iterator[torch.Tensor]:
    embeddings = getattr(hf_model, "get_input_embeddings", lambda: None)()
    for module in (embeddings, *projections.modules):
        for held in (getattr(module, "weight", None), getattr(module, "bias", None)):
            if isinstance(held, torch.Tensor):
                yield held


def _sample(weight: torch.Tensor) -> bytes:
    if weight.is_meta or not weight.is_floating_point() or weight.element_size() < 2:
        return b"unread"
    flat = weight.detach().reshape(-1)
    picked = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
    return picked.to(torch.bfloat16).view(torch.int16).cpu().numpy().astype("<i2").tobytes()
