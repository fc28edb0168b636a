"""What the chat benchmarks share: a model, its users' offsets, and their questions."""

from typing import Any

import torch

from persona_align.models import ChatTransformers
from persona_align.steering import ActivationOffsets, SteeredModel

QUESTIONS = (
    "How do I keep basil alive on a windowsill?",
    "Suggest a plan for a rainy Sunday.",
    "What should I cook tonight?",
    "Explain how rain forms.",
)


def bundled(**settings: Any) -> ChatTransformers:
    """A chat model over the bundled model."""
    from persona_align import demo

    model, tokenizer = demo.load()
    return ChatTransformers(model=model, tokenizer=tokenizer, **settings)


def random_users(chat: ChatTransformers, count: int, seed: int, *, scale: float = 0.05) -> list[ActivationOffsets]:
    """Offsets in every head, a different direction for every user, `scale` times the size of the heads' outputs."""
    steered = SteeredModel.of(chat.model)
    ids = chat.tokenizer(QUESTIONS[0], return_tensors="pt")["input_ids"]
    with steered.capture() as captured, torch.no_grad():
        chat.model(ids)
    size = torch.stack([heads.float().norm(dim=-1).mean() for heads in captured.heads])[:, None, None].cpu()
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        direction = torch.randn(steered.geometry.shape, generator=generator)
        values = scale * size * direction / direction.norm(dim=-1, keepdim=True)
        made.append(ActivationOffsets(values, fingerprint=steered.fingerprint))
    return made
