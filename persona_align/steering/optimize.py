"""A few real optimisation steps on the offsets, several people at a time.

The linear fit is one Gauss-Newton step from the plain model, by gradients taken there. These are further steps of the
same kind, each from where the one before led: the gradient is the true one, at the present offsets; the curvature stays
that of the linearised model, which makes it a diagonal. A step that does not pay for a person is taken back and tried
shorter.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.asking import Asked, expected_agreement
from persona_align.steering.lessons import in_evaluation
from persona_align.steering.linear import ResponseRidge

__all__ = ["answer_losses", "optimise"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Orders = tuple[Asked, Asked]


def optimise(
    asked: Orders,
    ridge: ResponseRidge,
    answers: Floats,
    expected: Floats,
    *,
    steps: int = 8,
    pace: float = 0.5,
    people: int = 8,
) -> Singles:
    """Offsets under which the model's expected answers are nearer to people's, with the penalty of the linear fit.

    Args:
        asked: The questions in both orders of the letters.
        ridge: The linear fit, from which the steps start.
        answers: Agreement 1 to 5, NaN unknown, [people, items].
        expected: The plain model's expected agreement, [items].
        steps: How many steps.
        pace: The part of a Gauss-Newton step that is tried first.
        people: How many people are optimised together.

    Returns:
        [people, layers, heads, head_dim].
    """
    weights, penalties = ridge.solve(answers - expected)
    response, inwards, outwards = ridge.whitened()
    device = asked[0].steered.device
    basis, curvature = (torch.from_numpy(array).float().to(device) for array in (outwards, response))
    start = torch.from_numpy(weights @ inwards).float().to(device)
    penalty = torch.from_numpy(penalties).float().to(device)[:, None]
    parts = []
    for first in range(0, len(answers), people):
        rows = slice(first, first + people)
        at, part = start[rows], penalty[rows]
        cost, slope = _cost(asked, at, basis, answers[rows], part)
        length = torch.full_like(part, pace)
        for _ in range(steps):
            tried = at - length * slope / (curvature + part)
            new_cost, new_slope = _cost(asked, tried, basis, answers[rows], part)
            better = (new_cost < cost)[:, None]
            at, slope = torch.where(better, tried, at), torch.where(better, new_slope, slope)
            cost = torch.where(better[:, 0], new_cost, cost)
            length = torch.where(better, 1.2 * length, 0.3 * length)
        parts.append((at @ basis).cpu().numpy())
    return np.concatenate(parts).reshape(-1, *asked[0].steered.geometry.shape)


def _cost(
    asked: Orders, at: torch.Tensor, basis: torch.Tensor, answers: Floats, penalty: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the squared distance from each person's answers plus half the penalty, [people], and its gradient."""
    here = at.detach().requires_grad_(True)
    known = torch.from_numpy(~np.isnan(answers)).to(at.device)
    given = torch.from_numpy(np.nan_to_num(answers, nan=3.0)).to(at)
    with in_evaluation(asked[0].steered), torch.enable_grad():
        offsets = (here @ basis).view(len(at), *asked[0].steered.geometry.shape)
        found = (expected_agreement(asked[0].logits(offsets)) + expected_agreement(asked[1].logits(offsets))) / 2
        cost = ((given - found).square() * known).sum(1) / 2 + (penalty * here.square()).sum(1) / 2
        (slope,) = torch.autograd.grad(cost.sum(), [here])
    return cost.detach(), slope


def answer_losses(asked: Orders, offsets: torch.Tensor, items: NDArray[np.intp], answers: Floats) -> torch.Tensor:
    """The mean negative log-likelihood of one person's answers to some items under each set of offsets."""
    given = torch.from_numpy(answers[items]).round().long().to(offsets.device) - 1
    chosen = [int(item) for item in items]
    logs = [order.logits(offsets, chosen).log_softmax(-1) for order in asked]
    likely = [log.gather(-1, given.expand(len(offsets), -1)[..., None]).mean((1, 2)) for log in logs]
    return -(likely[0] + likely[1]) / 2
