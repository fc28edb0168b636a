"""The obviously right way to steer one sequence: no cache, no batch, offsets added to the projection's input."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from persona_align.steering import ActivationOffsets, find_projections


@contextmanager
def added_to_inputs(hf_model: Any, offsets: ActivationOffsets | None, start: int = 0) -> Iterator[None]:
    """Add the offsets to what enters every projection, at positions from `start` on; one sequence, no cache."""
    modules = find_projections(hf_model).modules
    handles = []
    if offsets is not None:
        for module, values in zip(modules, offsets.values.reshape(len(modules), -1).copy(), strict=True):
            added = torch.from_numpy(values)

            def hook(_module: Any, args: tuple[torch.Tensor], added: torch.Tensor = added) -> tuple[torch.Tensor]:
                steered = args[0].clone()
                steered[:, start:] += added.to(steered.dtype)
                return (steered,)

            handles.append(module.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def naive_logits(hf_model: Any, ids: list[int], offsets: ActivationOffsets | None, start: int = 0) -> torch.Tensor:
    """[positions, vocabulary] of one sequence."""
    with torch.no_grad(), added_to_inputs(hf_model, offsets, start):
        return hf_model(torch.tensor([ids]), use_cache=False).logits[0]


def naive_greedy(hf_model: Any, ids: list[int], offsets: ActivationOffsets | None, new_tokens: int) -> list[int]:
    """The greedy continuation of one prompt, every token from a full forward pass."""
    start = 0
    if offsets is not None and offsets.positions != "all":
        start = len(ids) if offsets.positions == "generated" else len(ids) - 1
    written = list(ids)
    for _ in range(new_tokens):
        written.append(int(naive_logits(hf_model, written, offsets, start)[-1].argmax()))
    return written[len(ids) :]
