"""Claims that repeat each other: said again, they are not new evidence."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["repeated"]

Floats = NDArray[np.float64]

BLOCK, WINDOW = 64, 128
"""A claim is compared with so many later ones of its dimension, and with up to a block more."""
ALIKE, SAME = 0.6, 0.9
"""Between these likenesses a claim goes from new to said already."""
_LATER = np.triu(np.ones((BLOCK, BLOCK), dtype=np.float32), 1)


def repeated(sketches: NDArray[np.float32], signs: Floats, before: Floats | None = None) -> Floats:
    """How far each claim is said again by a later one of the same direction, so that the later one carries the weight.

    Args:
        sketches: Shape [n, features]: unit vectors of what the claims are about, in time order; zeros match nothing.
        signs: Shape [n]: their directions.
        before: Shape [m], m <= n: what this gave for the first m, which spares comparing most of them again.

    Returns:
        Shape [n], in [0, 1].

    Example:
        >>> repeated(np.eye(2, dtype=np.float32)[[0, 1, 0]], np.ones(3)).tolist()
        [1.0, 0.0, 0.0]
    """
    count = len(sketches)
    share = np.zeros(count)
    settled = 0
    if before is not None and len(before) >= BLOCK + WINDOW:
        settled = (len(before) - WINDOW) // BLOCK * BLOCK  # the blocks whose window was full already
        share[:settled] = before[:settled]
    # With the sign beside it, the product of two claims is their likeness plus or minus 1: opposite ones never match.
    directed = np.concatenate([sketches[settled:], signs[settled:, None].astype(np.float32)], axis=1)
    likeliest = np.zeros(len(directed))
    for start in range(0, len(directed), BLOCK):
        block = directed[start : start + BLOCK]
        likeness = block @ directed[start : start + BLOCK + WINDOW].T
        likeness[:, : len(block)] *= _LATER[: len(block), : len(block)]
        likeliest[start : start + BLOCK] = likeness.max(1, initial=0.0)
    share[settled:] = np.clip((likeliest - 1.0 - ALIKE) / (SAME - ALIKE), 0.0, 1.0)
    return share
