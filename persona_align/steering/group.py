"""A person with few answers borrows from a group of people: those who answered alike weigh most.

The group's answers are taken as draws of a Gaussian. What it says of a statement that a person did not answer, given
those they did, has a closed form. PAS calls it borrowing from closely related groups (arXiv 2408.11779); we
borrow at the answers instead of at the offsets, which serves every method and needs no offsets of the group.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Group"]

Floats = NDArray[np.float64]
_SHRINK = 0.5
"""How far the covariance is drawn to its diagonal: found by leaving out one person of a group of 75."""
_LEAST = 8
"""People from whom a covariance is worth anything."""


class Group:
    """People whose answers to the same statements are known.

    Args:
        answers: Agreement 1 to 5, None or NaN where unknown, [people, statements]; at least 8 people.

    Raises:
        ValueError: Fewer people, another shape, or a statement that none of them answered.

    Example:
        >>> everybody = [[5, 5], [1, 1], [4, 5], [2, 1], [5, 4], [1, 2], [4, 4], [2, 2]]
        >>> Group(everybody).complete([[5, None]]).round(1).tolist()
        [[5.0, 3.9]]
    """

    def __init__(self, answers: ArrayLike) -> None:
        rows = np.array(answers, dtype=np.float64)
        if rows.ndim != 2 or len(rows) < _LEAST:
            msg = f"a group is the answers of at least {_LEAST} people, [people, statements], not {list(rows.shape)}"
            raise ValueError(msg)
        known = ~np.isnan(rows)
        if not known.any(axis=0).all():
            msg = f"nobody in the group answered statement {int(np.argmin(known.any(axis=0)))}; leave it out"
            raise ValueError(msg)
        self.mean: Floats = np.nanmean(rows, axis=0)
        centred = np.where(known, rows - self.mean, 0.0)
        covariance = centred.T @ centred / np.maximum(known.T.astype(float) @ known, 1.0)
        own = np.diag(covariance)
        # A statement on which all agree says nothing, but must not divide by nothing.
        self._covariance = (1 - _SHRINK) * covariance + np.diag(_SHRINK * own + 1e-6)

    def complete(self, answers: ArrayLike) -> Floats:
        """Answers with what the group expects where there is none; a person without any answer stays unknown."""
        rows = np.array(answers, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            msg = f"the group answered {len(self.mean)} statements, but the answers have shape {list(rows.shape)}"
            raise ValueError(msg)
        for row in rows:
            known = ~np.isnan(row)
            if known.any() and not known.all():
                within = self._covariance[np.ix_(known, known)]
                across = self._covariance[np.ix_(~known, known)]
                weights = np.linalg.solve(within, row[known] - self.mean[known])
                row[~known] = np.clip(self.mean[~known] + across @ weights, 1.0, 5.0)
        return rows
