"""Attention for training on processors: PyTorch's fused kernel takes half of a step there, in its backward pass."""

from typing import Any

__all__ = ["use_plain_attention"]

_NAME = "persona_align_training"


def use_plain_attention(model: Any) -> None:
    """Let a model attend causally by plain matrix products, whose gradients are fast on processors.

    For whole rows padded on the right, without a cache and without a mask: what training gives it.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    model.config._attn_implementation = _NAME


def _attend(_module: Any, query: Any, key: Any, value: Any, _mask: Any, scaling: float, **_: Any) -> tuple[Any, None]:
    """Query heads of one group share their key head without a copy of it; [batch, heads, length, width] each."""
    import torch

    rows, heads, length, width = query.shape
    groups = key.shape[1]
    grouped = query.reshape(rows, groups, heads // groups * length, width) * scaling
    scores = (grouped @ key.transpose(2, 3)).view(rows, groups, -1, length, length)
    later = torch.full((length, length), float("-inf"), dtype=scores.dtype, device=scores.device).triu(1)
    weights = torch.softmax(scores + later, dim=-1).view(rows, groups, -1, length)
    mixed = (weights.to(value.dtype) @ value).view(rows, heads, length, width)
    return mixed.transpose(1, 2).contiguous(), None
