"""A few real optimisation steps on the offsets, several people at a time.

The linear fit is one Newton step from the plain model, by gradients taken there. These are further steps of the same
kind, each from where the one before led: the gradient is the true one, at the present offsets; the curvature stays that
of the linearised model, which makes it a diagonal.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.asking import Asked
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
    steps: int = 6,
    pace: float = 0.7,
    people: int = 8,
) -> Singles:
    """Offsets under which people's own answers are likelier, with the same penalty as the linear fit.

    Args:
        asked: The questions in both orders of the letters; each step asks every statement in one of them.
        ridge: The linear fit, from which the steps start.
        answers: Agreement 1 to 5, NaN unknown, [people, items].
        expected: The plain model's expected agreement, [items].
        steps: How many steps.
        pace: The part of a Newton step that is taken.
        people: How many people are optimised together.

    Returns:
        [people, layers, heads, head_dim].
    """
    weights, penalties = ridge.solve(answers - expected)
    response, inwards, outwards = ridge.whitened()
    device = asked[0].steered.device
    basis = torch.from_numpy(outwards).to(device)
    curvature = torch.from_numpy(response).float().to(device)
    parts = []
    for start in range(0, len(answers), people):
        rows = slice(start, start + people)
        at = torch.from_numpy(weights[rows] @ inwards).float().to(device)
        penalty = torch.from_numpy(penalties[rows]).float().to(device)[:, None]
        for step in range(steps):
            slope = _slope(asked, at, basis, answers[rows], step) + penalty * at
            at = at - pace * slope / (curvature + penalty)
        parts.append((at @ basis).float().cpu().numpy())
    return np.concatenate(parts).reshape(-1, *asked[0].steered.geometry.shape)


def _slope(asked: Orders, at: torch.Tensor, basis: torch.Tensor, answers: Floats, turn: int) -> torch.Tensor:
    """The gradient of the summed negative log-likelihood of each person's answers, [people, coordinates]."""
    here = at.detach().requires_grad_(True)
    items = list(range(answers.shape[1]))
    with in_evaluation(asked[0].steered), torch.enable_grad():
        offsets = (here @ basis).view(len(at), *asked[0].steered.geometry.shape)
        known = torch.from_numpy((~np.isnan(answers)).sum(axis=1)).to(at)
        loss = (_losses(asked, offsets, items, answers, turn=turn) * known).sum()
        (slope,) = torch.autograd.grad(loss, [here])
    return slope


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
