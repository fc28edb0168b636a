"""Which heads tell agreement from disagreement: leave-one-item-out probes in closed form.

A probe of the reference is a logistic regression per head and person. Here the part that does not depend on the person
is a hat matrix per head, computed once: with `D` the head's differences (agree - disagree), `H = D (D'D + p)^-1 D'`
gives the ridge probe's score of item i, fitted without item i, up to a positive factor, as `sum_{j != i} H_ij y_j`.
A person is then one matrix product over all heads.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeadProbes", "MassMean", "sides"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
_PEOPLE_AT_ONCE = 48


def sides(answers: Floats) -> Floats:
    """+1 where a person agrees, -1 where they disagree, 0 where they are neutral or unknown.

    Args:
        answers: Agreement 1 to 5, NaN unknown, any shape.

    Example:
        >>> sides(np.array([5.0, 3.0, 2.0, np.nan])).tolist()
        [1.0, 0.0, -1.0, 0.0]
    """
    return np.nan_to_num(np.sign(answers - 3.0), nan=0.0)


@dataclass(frozen=True)
class MassMean:
    """The displacement of the kept heads for one person.

    Attributes:
        heads: The kept heads, best first, [K].
        directions: Unit directions from disagreement to agreement, [K, head_dim].
        sigma: Standard deviation of the person's activations along each direction, [K].
        length: How long the mean difference was before it was made a unit direction, [K].
    """

    heads: NDArray[np.intp]
    directions: Singles
    sigma: Floats
    length: Floats


class HeadProbes:
    """Scores every head for a person, and gives the mass-mean displacement of the best.

    Args:
        agree: Activations of the statements answered with agreement, [heads, items, head_dim].
        disagree: The same answered with disagreement.
        penalty: Ridge penalty, relative to the mean squared length of a head's differences.

    Source:
        arXiv 2408.11779, section 4: probe accuracy ranks the heads, the mass-mean gives the direction.
    """

    def __init__(self, agree: Singles, disagree: Singles, *, penalty: float = 1.0) -> None:
        self.agree = np.ascontiguousarray(agree, dtype=np.float32)
        self.disagree = np.ascontiguousarray(disagree, dtype=np.float32)
        self.difference: Singles = self.agree - self.disagree
        self._hat = np.stack([_hat(head, penalty) for head in self.difference])

    @property
    def items(self) -> int:
        """How many statements there are."""
        return int(self._hat.shape[1])

    def scores(self, signs: Floats) -> Floats:
        """The share of a person's items that a head places rightly without having seen them.

        Args:
            signs: +1, -1 or 0 (not used) an item, [people, items].

        Returns:
            [people, heads], 0 to 1; the digits past the share order heads of equal share by their margin.
        """
        parts = [self._score(signs[k : k + _PEOPLE_AT_ONCE]) for k in range(0, len(signs), _PEOPLE_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self._hat)))

    def _score(self, signs: Floats) -> Floats:
        side = signs.T.astype(np.float32)  # [items, people]
        margin = self._hat @ side  # [heads, items, people]; the diagonal of the hat matrices is zero
        margin *= side
        right = np.count_nonzero(margin > 0, axis=1).T  # [people, heads]
        total = margin.sum(axis=1).T.astype(np.float64)
        square = np.einsum("hip,hip->ph", margin, margin).astype(np.float64)
        used = np.abs(signs).sum(axis=1, keepdims=True)
        # total / sqrt(used * square) lies in [-1, 1]: less than one item's worth, it only breaks ties. Rounded, so that
        # the last bits of a sum, which depend on how many people are scored together, never decide.
        tie = np.round(total / np.sqrt(np.maximum(used * square, 1e-30)), 4)
        share: Floats = (right + 0.49 * tie) / np.maximum(used, 1.0)
        return share

    def mass_mean(self, signs: Floats, scores: Floats, keep: int) -> MassMean:
        """The displacement of the `keep` best heads of one person.

        Args:
            signs: The person's sides, [items].
            scores: The person's head scores, [heads].
            keep: How many heads, K.
        """
        heads = np.argsort(-scores, kind="stable")[:keep]
        used = int(np.abs(signs).sum())
        weight = (signs / used).astype(np.float32)
        directions = np.stack([weight @ self.difference[head] for head in heads])
        length = np.linalg.norm(directions.astype(np.float64), axis=1)
        directions /= np.maximum(length, 1e-12)[:, None].astype(np.float32)
        along = np.empty((len(heads), 2, self.items))
        for k, head in enumerate(heads):
            along[k] = self.agree[head] @ directions[k], self.disagree[head] @ directions[k]
        return MassMean(heads, directions, along[:, :, signs != 0].std(axis=(1, 2)), length)


def _hat(difference: Singles, penalty: float) -> Singles:
    """One head's hat matrix with a zero diagonal, [items, items]."""
    rows = difference.astype(np.float64)
    gram = rows @ rows.T
    scale = max(float(np.trace(gram)) / len(gram), 1e-12)
    # The push-through identity gives the same matrix from items x items or head_dim x head_dim, whichever is smaller.
    if len(gram) <= rows.shape[1]:
        hat = np.linalg.solve(gram + penalty * scale * np.eye(len(gram)), gram)
    else:
        inner = rows.T @ rows + penalty * scale * np.eye(rows.shape[1])
        hat = rows @ np.linalg.solve(inner, rows.T)
    np.fill_diagonal(hat, 0.0)
    return hat.astype(np.float32)
