"""Claims that repeat each other: said again, they are not new evidence."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["repeated"]

WINDOW = 128
"""A claim is compared with so many later ones of its dimension."""
ALIKE, SAME = 0.6, 0.9
"""Between these likenesses a claim goes from new to said already."""


def repeated(sketches: NDArray[np.float32], signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each claim is said again by a later one of the same direction, so that the later one carries the weight.

    Args:
        sketches: Shape [n, features]: unit vectors of what the claims are about, in time order; zeros match nothing.
        signs: Shape [n]: their directions.

    Returns:
        Shape [n], in [0, 1].

    Example:
        >>> repeated(np.eye(2, dtype=np.float32)[[0, 1, 0]], np.ones(3)).tolist()
        [1.0, 0.0, 0.0]
    """
    count = len(sketches)
    worst = np.zeros(count)
    for start in range(0, count, WINDOW):
        stop = min(start + WINDOW, count)
        until = min(stop + WINDOW, count)
        likeness = sketches[start:stop] @ sketches[start:until].T
        likeness = likeness * (signs[start:stop, None] == signs[None, start:until])
        likeness = np.triu(likeness, 1)
        worst[start:stop] = likeness.max(1, initial=0.0)
    return np.clip((worst - ALIKE) / (SAME - ALIKE), 0.0, 1.0)
