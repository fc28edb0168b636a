"""Offsets that do what a prompt does: a model, told a preference, teaches itself to follow it untold.

Offsets are sought, by gradient, under which the model gives the replies of its told self the same probabilities without
being told. Some replies follow several poles at once, so that the offsets also learn to add up. Only offsets are
trained: the weights of the model are never touched.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.lessons import Lesson, in_evaluation, reply_logits
from persona_align.steering.progress import Progress
from persona_align.steering.steered import SteeredModel

__all__ = ["distil", "divergence", "typical_size"]

Singles = NDArray[np.float32]


def distil(
    steered: SteeredModel,
    lessons: Sequence[Lesson],
    poles: int,
    *,
    steps: int,
    rate: float = 0.05,
    decay: float = 1e-3,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> Singles:
    """One set of offsets per pole, [poles, layers, heads, head_dim].

    Args:
        steered: The model.
        lessons: What the told model replied.
        poles: How many poles there are.
        steps: Adam steps; none gives zeros.
        rate: Size of a step, in units of a head's typical output.
        decay: Weight of the offsets' mean square, in the same units, against the divergence in nats a token.
        seed: Of the order of the lessons.
        batch: Lessons a step.
        progress: Called after each step.
    """
    rng = np.random.default_rng(seed)
    scale = typical_size(steered, lessons[:batch]).to(steered.device)
    values = torch.zeros((poles, *steered.geometry.shape), device=steered.device, requires_grad=True)
    descent = _Descent(values)
    waiting: list[int] = []
    for step in range(steps):
        if len(waiting) < batch:
            waiting += [int(k) for k in rng.permutation(len(lessons))]
        chosen, waiting = [lessons[k] for k in waiting[:batch]], waiting[batch:]
        told = _told(chosen, poles).to(steered.device)
        with torch.enable_grad():
            rows = torch.einsum("rp,plhd->rlhd", told, values * scale)
            with in_evaluation(steered), steered.inject(rows):
                loss = _divergences(steered, chosen).mean()
            penalty = told.mean(0) @ values.square().mean((1, 2, 3))
            (slope,) = torch.autograd.grad(loss + decay * penalty, [values])
        descent.step(slope, told.any(0), rate * min(1.0, (step + 1) / 5) * (1.0 - 0.9 * step / steps))
        if progress is not None:
            progress("offsets", step + 1, steps)
    found: Singles = (values.detach() * scale).float().cpu().numpy()
    return found


class _Descent:
    """Adam with one step size for all numbers of a pole.

    Plain Adam steps as far along a number that hardly matters as along one that does: over many numbers that adds up to
    noise, which costs fluency and gains nothing. Poles that a batch does not tell stay where they are.
    """

    def __init__(self, values: torch.Tensor, *, slow: float = 0.9, slower: float = 0.98) -> None:
        self.values, self.slow, self.slower = values, slow, slower
        self.mean = torch.zeros_like(values)
        self.square = torch.zeros(len(values), device=values.device)
        self.count = torch.zeros(len(values), device=values.device)

    def step(self, slope: torch.Tensor, told: torch.Tensor, rate: float) -> None:
        """One step against the slope, [poles, layers, heads, head_dim], for the poles that were told."""
        self.count[told] += 1
        self.mean[told] = self.slow * self.mean[told] + (1 - self.slow) * slope[told]
        self.square[told] = self.slower * self.square[told] + (1 - self.slower) * slope[told].square().mean((1, 2, 3))
        count = self.count[told]
        size = (self.square[told] / (1 - self.slower**count)).sqrt().clamp(min=1e-12) * (1 - self.slow**count)
        with torch.no_grad():
            self.values[told] -= rate * self.mean[told] / size.view(-1, 1, 1, 1)


def divergence(
    steered: SteeredModel, lessons: Sequence[Lesson], offsets: Singles, *, strength: float = 1.0, batch: int = 32
) -> NDArray[np.float64]:
    """How far the untold model with offsets is from its told self: nats per token of the reply, for each lesson.

    Args:
        steered: The model.
        lessons: What the told model replied.
        offsets: One set per pole, [poles, layers, heads, head_dim].
        strength: A factor on the offsets; 0 measures the plain model.
        batch: Lessons at a time.
    """
    parts = []
    values = torch.from_numpy(offsets).to(steered.device) * strength
    for start in range(0, len(lessons), batch):
        chosen = lessons[start : start + batch]
        rows = torch.einsum("rp,plhd->rlhd", _told(chosen, len(offsets)).to(values.device), values)
        with torch.no_grad(), in_evaluation(steered), steered.inject(rows):
            parts.append(_divergences(steered, chosen).double().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def typical_size(steered: SteeredModel, lessons: Sequence[Lesson]) -> torch.Tensor:
    """The root mean square of every head's output over some replies, [layers, heads, 1]."""
    with torch.no_grad(), in_evaluation(steered), steered.capture() as captured:
        reply_logits(steered, [(lesson.prompt, lesson.reply) for lesson in lessons])
    sizes = torch.stack([heads.float().square().mean((0, 1, 3)).sqrt().cpu() for heads in captured.heads])
    return sizes.clamp(min=1e-6)[..., None]


def _told(lessons: Sequence[Lesson], poles: int) -> torch.Tensor:
    """Which poles each lesson was told, [lessons, poles]."""
    told = torch.zeros((len(lessons), poles))
    for row, lesson in enumerate(lessons):
        told[row, list(lesson.poles)] = 1.0
    return told


def _divergences(steered: SteeredModel, lessons: Sequence[Lesson]) -> torch.Tensor:
    """Kullback-Leibler divergence of the told model from the present one, a mean over each reply's tokens."""
    means = []
    for lesson, logits in zip(lessons, _logits(steered, lessons), strict=True):
        here = torch.log_softmax(logits, -1)
        tokens = torch.from_numpy(lesson.tokens).to(here.device)
        there = torch.from_numpy(lesson.log_probs).to(here.device)
        near = here.gather(-1, tokens)
        # What neither keeps by name is compared as one event.
        rest_there = (1.0 - there.exp().sum(-1)).clamp(min=1e-6)
        rest_near = (1.0 - near.exp().sum(-1)).clamp(min=1e-6)
        named = (there.exp() * (there - near)).sum(-1)
        means.append((named + rest_there * (rest_there.log() - rest_near.log())).mean())
    return torch.stack(means)


def _logits(steered: SteeredModel, lessons: Sequence[Lesson]) -> list[torch.Tensor]:
    return reply_logits(steered, [(lesson.prompt, lesson.reply) for lesson in lessons])
