"""A few real optimisation steps on the offsets, several people at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.asking import Asked
from persona_align.steering.lessons import in_evaluation

__all__ = ["answer_losses", "optimise"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Orders = tuple[Asked, Asked]


def optimise(
    asked: Orders,
    start: Singles,
    answers: Floats,
    *,
    steps: int = 12,
    items: int = 20,
    rate: float = 0.1,
    decay: float = 0.5,
    people: int = 8,
    seed: int = 0,
) -> Singles:
    """Offsets under which people's own answers become likelier, from a start, by Adam.

    Args:
        asked: The questions in both orders of the letters.
        start: Where to begin, [people, layers, heads, head_dim].
        answers: Agreement 1 to 5, NaN unknown, [people, items].
        steps: How many steps.
        items: Statements a step; they come round in a random order, half of them in either order of the letters.
        rate: Size of a step, in units of the start's root mean square.
        decay: Weight of the squared distance from the start, relative to the start's own size, against the mean
            negative log-likelihood of an answer.
        people: How many people are optimised together.
        seed: Of the order of the statements.
    """
    parts = [
        _optimise(asked, start[k : k + people], answers[k : k + people], steps, items, rate, decay, seed)
        for k in range(0, len(start), people)
    ]
    return np.concatenate(parts)


def _optimise(
    asked: Orders,
    start: Singles,
    answers: Floats,
    steps: int,
    items: int,
    rate: float,
    decay: float,
    seed: int,
) -> Singles:
    rng = np.random.default_rng(seed)
    steered = asked[0].steered
    origin = torch.from_numpy(start).to(steered.device)
    scale = origin.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-8)
    moved = torch.zeros_like(origin, requires_grad=True)
    optimiser = torch.optim.Adam([moved], lr=rate, betas=(0.9, 0.95))
    order: list[int] = []
    for step in range(steps):
        if len(order) < items:
            order += [int(k) for k in rng.permutation(answers.shape[1])]
        chosen, order = order[:items], order[items:]
        optimiser.param_groups[0]["lr"] = rate * (1.0 - 0.9 * step / steps)
        with in_evaluation(steered), torch.enable_grad():
            loss = _losses(asked, origin + scale * moved, chosen, answers, turn=step).sum()
            penalty = decay * moved.square().mean((1, 2, 3)).sum()
            (moved.grad,) = torch.autograd.grad(loss + penalty, [moved])
        optimiser.step()
    found: Singles = (origin + scale * moved.detach()).float().cpu().numpy()
    return found


def answer_losses(asked: Orders, offsets: torch.Tensor, items: NDArray[np.intp], answers: Floats) -> torch.Tensor:
    """The mean negative log-likelihood of one person's answers under each set of offsets, over both letter orders."""
    rows = np.tile(answers, (len(offsets), 1))
    both = [_losses(asked, offsets, [int(k) for k in items], rows, turn=turn) for turn in (0, 1)]
    return (both[0] + both[1]) / 2


def _losses(asked: Orders, offsets: torch.Tensor, items: Sequence[int], answers: Floats, *, turn: int) -> torch.Tensor:
    """Mean negative log-likelihood of each person's known answers, [people].

    Every other statement is asked with the letters the other way round; `turn` says which half begins.
    """
    total = torch.zeros(len(offsets), device=offsets.device)
    count = torch.zeros(len(offsets), device=offsets.device)
    for order in (0, 1):
        part = [k for position, k in enumerate(items) if (position + order + turn) % 2 == 0]
        if not part:
            continue
        logs = asked[order].logits(offsets, part).log_softmax(-1)
        known = torch.from_numpy(~np.isnan(answers[:, part])).to(logs.device)
        given = torch.from_numpy(np.nan_to_num(answers[:, part], nan=3.0)).round().long().to(logs.device) - 1
        total = total - (logs.gather(-1, given[..., None])[..., 0] * known).sum(1)
        count = count + known.sum(1)
    return total / count.clamp(min=1)
