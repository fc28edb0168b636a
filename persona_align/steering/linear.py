"""Offsets from gradients: one ridge solve a person, through a Gram matrix that all people share.

With `J` the gradient of each statement's expected agreement with respect to the head outputs, a small displacement `d`
moves the model's answers by `J d`. Of all displacements that bring them towards a person's answers, the smallest is
`P J' (J P J' + penalty)^-1 (answers - expected)`, where `P` says which directions are large for this model: those in
which its heads move when it has come to know somebody. The matrix to invert has one row a statement, whatever the
model's size.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["PENALTIES", "ResponseRidge"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PENALTIES: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Tried for each person. Weaker ones fit a person's answers better and predict the next ones worse, which the
leave-one-item-out error of a linearised model does not see: the model bends where the line goes on. The least was
chosen on the answers of people whom no evaluation reads."""


class ResponseRidge:
    """Solves for people's offsets, one by one or all at once.

    Args:
        gradients: d expected agreement / d head outputs, [items, size].
        shifts: How the model's head outputs move with a persona, [shifts, size]; without any, all directions count
            alike.
        trust: The part of `P` that comes from the shifts, 0 to 1; the rest counts all directions alike.

    Attributes:
        gram: J P J', scaled so that its mean diagonal is 1, [items, items].
        spread: J P in the same scale, [items, size]: a person's offsets are their weights times this.

    Example:
        >>> ridge = ResponseRidge(np.eye(3))
        >>> weights, penalty = ridge.solve(np.array([[2.0, 0.0, np.nan]]), penalty=1.0)
        >>> weights.round(3).tolist()
        [[1.0, 0.0, 0.0]]
    """

    def __init__(
        self, gradients: NDArray[np.floating], shifts: NDArray[np.floating] | None = None, *, trust: float = 0.9
    ) -> None:
        rows: Singles = gradients.astype(np.float32)
        plain = _mean_diagonal(rows, rows)
        if shifts is None or not len(shifts):
            self.spread: Singles = np.asarray(rows / np.float32(plain), dtype=np.float32)
        else:
            moved: Singles = np.asarray(shifts, dtype=np.float32)
            informed: Singles = np.asarray((rows @ moved.T) @ moved, dtype=np.float32)
            share = trust / _mean_diagonal(informed, rows)
            mixed = np.float32(share) * informed + np.float32((1 - trust) / plain) * rows
            self.spread = np.asarray(mixed, dtype=np.float32)
        gram = np.asarray(self.spread.astype(np.float64) @ rows.T.astype(np.float64))
        self.gram: Floats = (gram + gram.T) / 2
        self._shared: dict[float, Floats] = {}

    def solve(self, residuals: Floats, *, penalty: float | None = None) -> tuple[Floats, Floats]:
        """The weight of every statement's gradient, and the penalty used.

        Args:
            residuals: Answer minus the model's own expected answer, [people, items]; NaN is unknown.
            penalty: Relative to what moving along a gradient does to its own statement. None chooses it for each
                person by the leave-one-item-out error, in closed form: the strength of the offsets follows from it.

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
                    inverse = _inverted(self.gram[np.ix_(where, where)], value)
                    solved, error = _apply(inverse, residuals[person, where][None])
                    weights[g, person, where], errors[g, person] = solved[0], error[0]
        # Ties (nobody's answers known) go to the strongest penalty, the one that moves the model least.
        best = len(grid) - 1 - np.argmin(errors[::-1], axis=0)
        return weights[best, np.arange(len(residuals))], np.asarray(grid)[best]

    def whitened(self) -> tuple[Floats, Floats, Singles]:
        """Coordinates in which the penalty is a plain square and the response is a diagonal.

        Returns:
            response: The squared response along each coordinate, [coordinates], the eigenvalues of `gram`.
            inwards: Weights to coordinates, [items, coordinates].
            outwards: Coordinates to offsets, [coordinates, size].
        """
        values, vectors = np.linalg.eigh(self.gram)
        kept = values > 1e-6 * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        outwards = (vectors / np.sqrt(values)).T @ self.spread.astype(np.float64)
        return values, vectors * np.sqrt(values), outwards.astype(np.float32)

    def _inverse(self, penalty: float) -> Floats:
        if penalty not in self._shared:
            self._shared[penalty] = _inverted(self.gram, penalty)
        return self._shared[penalty]


def _inverted(gram: Floats, penalty: float) -> Floats:
    return np.asarray(np.linalg.inv(gram + penalty * np.eye(len(gram))), dtype=np.float64)


def _mean_diagonal(spread: Singles, rows: Singles) -> float:
    return max(float(np.einsum("is,is->", spread, rows, dtype=np.float64)) / len(rows), 1e-30)


def _apply(inverse: Floats, residuals: Floats) -> tuple[Floats, Floats]:
    """Weights and the mean squared leave-one-out error of a ridge whose regularised Gram matrix has this inverse."""
    weights = residuals @ inverse
    left_out = weights / np.diag(inverse)
    return weights, (left_out**2).mean(axis=1)
