"""Random offsets and padded batches for the steering tests."""

from typing import Any

import torch

from persona_align.steering import ActivationOffsets, SteeredModel
from persona_align.steering.offsets import Positions


def random_offsets(
    steered: SteeredModel, seed: int, *, positions: Positions = "all", scale: float = 0.5
) -> ActivationOffsets:
    """Offsets large enough to change what a tiny random model says."""
    generator = torch.Generator().manual_seed(seed)
    values = scale * torch.randn(steered.geometry.shape, generator=generator)
    return ActivationOffsets(values, fingerprint=steered.fingerprint, positions=positions)


def prompts(lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Random token ids without the padding token."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, 97, (length,), generator=generator).tolist() for length in lengths]


def batch(rows: list[list[int]], side: str = "left") -> dict[str, Any]:
    """The rows padded to one length, with their attention mask."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[index, place] = torch.tensor(row)
        mask[index, place] = 1
    return {"input_ids": ids, "attention_mask": mask}


def new_tokens(hf_model: Any, inputs: dict[str, Any], count: int, **options: Any) -> list[list[int]]:
    """Greedily generated ids, without the prompt."""
    written = hf_model.generate(**inputs, max_new_tokens=count, do_sample=False, **options)
    return written[:, inputs["input_ids"].shape[1] :].tolist()
