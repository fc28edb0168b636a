"""How strongly a model can be steered before its text stops being fluent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.lessons import in_evaluation, replies, reply_logits
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.steered import SteeredModel

__all__ = ["FLUENCY_BOUND", "STRONGEST", "FluencyPoint", "combined", "fluency", "safe_strength"]

FLUENCY_BOUND = 1.5
"""The perplexity of steered replies under the unsteered model, as a multiple of that of unsteered replies."""
STRONGEST = 3
"""As many poles steer together; more would share the norm that text bears, and none of them would show."""


@dataclass(frozen=True)
class FluencyPoint:
    """What one strength does to a model's replies.

    Attributes:
        strength: A factor on the offsets.
        perplexity_ratio: Perplexity of steered replies under the unsteered model over that of unsteered replies.
        changed: The share of replies that differ from the unsteered ones.
    """

    strength: float
    perplexity_ratio: float
    changed: float

    def as_json(self) -> dict[str, float]:
        """The point as plain numbers."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def fluency(
    steered: SteeredModel,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    directions: Sequence[NDArray[np.float32]],
    strength: float = 1.0,
    *,
    max_tokens: int,
    batch: int = 64,
) -> list[FluencyPoint]:
    """Replies of the steered model, judged by the unsteered one, for each direction.

    Args:
        steered: The model.
        tokenizer: Its tokenizer.
        prompts: Token ids, each asked with every direction.
        directions: Offsets, each [layers, heads, head_dim].
        strength: A factor on all of them.
        max_tokens: The longest reply, in tokens.
        batch: Replies generated together.
    """
    plain = replies(steered, tokenizer, prompts, max_tokens=max_tokens)
    usual = _perplexity(steered, list(zip(prompts, plain, strict=True)))
    asked = [(prompt, direction) for direction in directions for prompt in prompts]
    rows: list[tuple[Sequence[int], list[int]]] = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        plan = [
            ActivationOffsets((direction * strength).astype(np.float32), fingerprint=steered.fingerprint)
            for _, direction in part
        ]
        with steered.plan(plan):
            answers = replies(steered, tokenizer, [prompt for prompt, _ in part], max_tokens=max_tokens)
        rows += [(prompt, answer) for (prompt, _), answer in zip(part, answers, strict=True)]
    points = []
    for start in range(0, len(rows), len(prompts)):
        own = rows[start : start + len(prompts)]
        changed = [answer != usually for (_, answer), usually in zip(own, plain, strict=True)]
        ratio = _perplexity(steered, own) / usual
        points.append(FluencyPoint(float(strength), float(ratio), float(np.mean(changed))))
    return points


def combined(values: NDArray[np.float32], weights: Mapping[int, float], limit: float) -> NDArray[np.float64]:
    """The sum of several poles' offsets, made smaller where together they would break the text.

    Each pole's own offsets are safe, and so is a mean of them: weights that sum to one pass. Beyond that it is the norm
    of the sum that decides, whatever the number of poles.

    Args:
        values: Safe offsets per pole, [poles, layers, heads, head_dim].
        weights: How much of each pole, by its row.
        limit: The largest norm that several poles may reach together.

    Example:
        >>> two = np.stack([np.full((1, 1, 4), 2.0, np.float32), np.full((1, 1, 4), -1.0, np.float32)])
        >>> combined(two, {0: 1.0, 1: 1.0}, 9.0).ravel().tolist(), combined(two, {0: 1.0, 1: 1.0}, 1.0).ravel().tolist()
        ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5])
    """
    total = np.zeros(values.shape[1:])
    for row, weight in weights.items():
        total += weight * values[row]
    whole, norm = sum(weights.values()), float(np.linalg.norm(total))
    if whole <= 1 or norm <= limit:
        return total
    return total * min(1.0, max(1 / whole, limit / norm))


def safe_strength(points: Sequence[FluencyPoint], *, bound: float = FLUENCY_BOUND) -> float:
    """The largest strength up to which every measured point keeps the bound, between points by interpolation.

    Example:
        >>> safe_strength([FluencyPoint(0.5, 1.1, 0.5), FluencyPoint(1.0, 1.9, 1.0)])
        0.75
    """
    ordered = sorted(points, key=lambda point: point.strength)
    below, ratio = 0.0, 1.0
    for point in ordered:
        if not point.perplexity_ratio <= bound:
            share = (bound - ratio) / (point.perplexity_ratio - ratio) if np.isfinite(point.perplexity_ratio) else 0.0
            return float(below + max(share, 0.0) * (point.strength - below))
        below, ratio = point.strength, point.perplexity_ratio
    return float(below)


def _perplexity(steered: SteeredModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]], batch: int = 32) -> float:
    """The perplexity per token of replies to their prompts under the unsteered model."""
    total, tokens = 0.0, 0
    filled = [row for row in rows if row[1]]
    with torch.no_grad(), in_evaluation(steered):
        for start in range(0, len(filled), batch):
            part = filled[start : start + batch]
            for (_, reply), logits in zip(part, reply_logits(steered, part), strict=True):
                target = torch.tensor(list(reply), device=logits.device)
                total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
                tokens += len(reply)
    return float(np.exp(total / max(tokens, 1)))
