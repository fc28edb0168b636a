"""Changes of mind: where in a sequence of claims the newer ones contradict the older ones consistently."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["segments"]

Floats = NDArray[np.float64]

PENALTY = 1.8
"""What a change must gain to be believed, in nats."""
SAID = 1.4
"""How much less it must gain where the claim itself says that something changed ("not any more", "from now on")."""
NOISE = (0.12, 2.0)
"""Variance of claims around an unchanged preference, and the weight of this prior against what the claims show."""
SPREAD = 0.6
"""Variance of preferences among people."""
DEPTH = 8


def segments(value: Floats, weight: Floats, said: NDArray[np.bool_]) -> list[int]:
    """Where the segments begin within which a preference held; the last one holds now.

    Args:
        value: Shape [n]: what the claims say, in time order.
        weight: Shape [n]: how much they count.
        said: Shape [n]: whether a claim says that something changed.

    Example:
        >>> segments(np.array([1.0] * 6 + [-1.0] * 3), np.ones(9), np.zeros(9, dtype=bool))
        [0, 6]
        >>> segments(np.array([1.0, -1.0] * 5), np.ones(10), np.zeros(10, dtype=bool))
        [0]
    """
    cuts = [0]
    if len(value) > 1 and value.min() < 0 < value.max():
        noise = _noise(value, weight)
        while len(cuts) < DEPTH:
            cut = _cut(value[cuts[-1] :], weight[cuts[-1] :], said[cuts[-1] :], noise)
            if not cut:
                break
            cuts.append(cuts[-1] + cut)
    return cuts


def _noise(value: Floats, weight: Floats) -> float:
    """Variance of claims, from neighbours in time, so that one change of mind does not count as noise."""
    step = np.diff(value)
    shared = np.minimum(weight[1:], weight[:-1])
    jumps = np.abs(step) > 1.0
    if jumps.sum() == 1:
        shared = np.where(jumps, 0.0, shared)
    prior, strength = NOISE
    return float((0.5 * (shared @ step**2) + strength * prior) / (shared.sum() + strength))


def _cut(value: Floats, weight: Floats, said: NDArray[np.bool_], noise: float) -> int:
    """The latest begin of a new segment that is worth it; 0 for none."""
    if len(value) < 2:
        return 0
    total, pull = np.cumsum(weight), np.cumsum(weight * value)
    ridge = noise / SPREAD
    before, after = pull[:-1], pull[-1] - pull[:-1]
    mass, rest = total[:-1], total[-1] - total[:-1]
    gain = before**2 / (mass + ridge) + after**2 / (rest + ridge) - pull[-1] ** 2 / (total[-1] + ridge)
    gain = gain / (2 * noise) - 0.5 * np.log1p(np.minimum(mass, rest) / ridge)
    gain = gain - PENALTY + SAID * said[1:]
    gain[(before * after >= 0) | (np.minimum(mass, rest) <= 0)] = -np.inf
    best = int(gain.argmax())
    return best + 1 if gain[best] > 0 else 0
