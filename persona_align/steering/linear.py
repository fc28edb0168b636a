"""Offsets from gradients: one ridge solve a person, through a Gram matrix that all people share.

With `J` the gradient of each statement's expected agreement with respect to the head outputs, a small displacement `d`
moves the model's answers by `J d`. The smallest `d` that brings them towards a person's answers is
`J' (J J' + penalty)^-1 (answers - expected)`: the matrix to invert has one row a statement, whatever the model's size.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["PENALTIES", "ResponseRidge"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PENALTIES: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class ResponseRidge:
    """Solves for the weights of the statements' gradients, person by person or all at once.

    Args:
        gradients: d expected agreement / d head outputs, [items, size].

    Example:
        >>> ridge = ResponseRidge(np.eye(3))
        >>> weights, penalty = ridge.solve(np.array([[2.0, 0.0, np.nan]]), penalty=1.0)
        >>> weights.round(3).tolist()
        [[1.0, 0.0, 0.0]]
    """

    def __init__(self, gradients: NDArray[np.floating]) -> None:
        rows = np.asarray(gradients, dtype=np.float64)
        self.gram = rows @ rows.T
        self.scale = max(float(np.trace(self.gram)) / len(self.gram), 1e-30)
        self._shared: dict[float, Floats] = {}

    def solve(self, residuals: Floats, *, penalty: float | None = None) -> tuple[Floats, Floats]:
        """The weight of every statement's gradient, and the penalty used.

        Args:
            residuals: Answer minus the model's own expected answer, [people, items]; NaN is unknown.
            penalty: Relative to the mean squared length of a gradient. None chooses it for each person by the
                leave-one-item-out error, in closed form: the strength of the offsets follows from it.

        Returns:
            weights [people, items] and penalties [people].
        """
        residuals = np.atleast_2d(np.asarray(residuals, dtype=np.float64))
        grid = PENALTIES if penalty is None else (penalty,)
        weights = np.zeros((len(grid), *residuals.shape))
        errors = np.zeros((len(grid), len(residuals)))
        known = ~np.isnan(residuals)
        complete = known.all(axis=1)
        for g, value in enumerate(grid):
            if complete.any():
                weights[g, complete], errors[g, complete] = _apply(self._inverse(value), residuals[complete])
            for person in np.flatnonzero(~complete):
                where = known[person]
                if where.any():
                    gram = self.gram[np.ix_(where, where)]
                    solved, error = _apply(self._inverted(gram, value), residuals[person, where][None])
                    weights[g, person, where], errors[g, person] = solved[0], error[0]
        # Ties (nobody's answers known) go to the strongest penalty, the one that moves the model least.
        best = len(grid) - 1 - np.argmin(errors[::-1], axis=0)
        return weights[best, np.arange(len(residuals))], np.asarray(grid)[best]

    def _inverse(self, penalty: float) -> Floats:
        if penalty not in self._shared:
            self._shared[penalty] = self._inverted(self.gram, penalty)
        return self._shared[penalty]

    def _inverted(self, gram: Floats, penalty: float) -> Floats:
        return np.asarray(np.linalg.inv(gram + penalty * self.scale * np.eye(len(gram))), dtype=np.float64)


def _apply(inverse: Floats, residuals: Floats) -> tuple[Floats, Floats]:
    """Weights and the mean squared leave-one-out error of a ridge whose regularised Gram matrix has this inverse."""
    weights = residuals @ inverse
    left_out = weights / np.diag(inverse)
    return weights, (left_out**2).mean(axis=1)
