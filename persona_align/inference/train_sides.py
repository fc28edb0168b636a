"""Learns towards which pole a claim goes, once it is known which dimension it speaks of.

All dimensions share a small network, so that what a denial or a warm word is, is learned from all of them; each adds
what is its own.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEMBERS", "Sides", "train_sides"]

Floats = NDArray[np.float32]
MEMBERS = 4
HIDDEN = 128
EPOCHS = 16
BATCH = 256


class Sides(NamedTuple):
    """Claims that go towards a pole.

    Args:
        message: Shape [n]: in which message.
        claim: Shape [n]: which claim.
        dimension: Shape [n]: of which dimension.
        towards: Shape [n]: 1 or -1; the other way round where the claim is denied from outside.
        drawn: Shape [n]: how often it is drawn.
    """

    message: NDArray[np.int64]
    claim: NDArray[np.int64]
    dimension: NDArray[np.int64]
    towards: Floats
    drawn: Floats

    def of(self, which: NDArray[np.bool_]) -> "Sides":
        """Some of them."""
        return Sides(
            self.message[which], self.claim[which], self.dimension[which], self.towards[which], self.drawn[which]
        )


def train_sides(x: Floats, words: Floats, sides: Sides, dimensions: int, *, seed: int = 0) -> dict[str, Floats]:
    """The tensors of the networks that are averaged.

    Args:
        x: Shape [claims, inputs]: the standardised layers.
        words: Shape [claims, features].
        sides: What is learned.
        dimensions: How many there are.
        seed: Of the weights and of what is drawn.

    Returns:
        `side_in` [inputs, members * hidden], `side_out` [members, hidden, dimensions], each with its bias.
    """
    learned = [_member(x, words, sides, dimensions, 1000 + 100 * seed + member) for member in range(MEMBERS)]
    stacked = {name: np.stack([each[name] for each in learned]) for name in learned[0]}
    stacked["side_in"] = np.concatenate(list(stacked["side_in"]), 1)
    stacked["side_in_bias"] = stacked["side_in_bias"].ravel()
    return {name: value.astype(np.float16).astype(np.float32) for name, value in stacked.items()}


def _member(x: Floats, words: Floats, sides: Sides, dimensions: int, seed: int) -> dict[str, Floats]:
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    first, shared = nn.Linear(x.shape[1] + words.shape[1], HIDDEN), nn.Linear(HIDDEN, 1)
    own = nn.Embedding(dimensions, HIDDEN + 1)
    nn.init.zeros_(own.weight)
    layers: list[Any] = [first, shared, own]
    optimizer = torch.optim.AdamW([p for layer in layers for p in layer.parameters()], lr=2e-3, weight_decay=0.1)
    steps = int(EPOCHS * sides.drawn.sum()) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    share = sides.drawn.astype(np.float64) / sides.drawn.sum(dtype=np.float64)
    inputs, features = torch.from_numpy(x), torch.from_numpy(words)
    for _ in range(steps):
        drawn = rng.choice(len(share), BATCH, p=share)
        claim, dimension = torch.from_numpy(sides.claim[drawn]), torch.from_numpy(sides.dimension[drawn])
        h = torch.cat([functional.dropout(inputs[claim], 0.4), 2 * features[claim]], 1)
        h = functional.dropout(functional.gelu(first(h), approximate="tanh"), 0.4)
        added = own(dimension)
        logits = shared(h)[:, 0] + (h * added[:, :-1]).sum(1) + added[:, -1]
        loss = functional.softplus(-logits * torch.from_numpy(sides.towards[drawn])).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    out = (shared.weight + own.weight[:, :-1]).T
    tensors = {"side_in": first.weight.T, "side_in_bias": first.bias, "side_out": out}
    tensors["side_out_bias"] = shared.bias + own.weight[:, -1]
    return {name: value.detach().numpy().astype(np.float32) for name, value in tensors.items()}
