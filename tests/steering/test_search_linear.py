"""One ridge solve a person, against the same ridge written out."""

import numpy as np
import pytest

from persona_align.steering.linear import PENALTIES, ResponseRidge


@pytest.fixture
def gradients():
    return np.random.default_rng(0).standard_normal((12, 40))


def test_weights_minimise_the_ridge(gradients):
    residuals = np.random.default_rng(1).standard_normal((2, 12))
    residuals[1, [2, 7]] = np.nan
    ridge = ResponseRidge(gradients)
    weights, _ = ridge.solve(residuals, penalty=2.0)
    for person, row in enumerate(residuals):
        known = ~np.isnan(row)
        rows = gradients[known]
        scale = (gradients**2).sum() / len(gradients)
        primal = np.linalg.solve(rows.T @ rows + 2.0 * scale * np.eye(40), rows.T @ row[known])
        np.testing.assert_allclose(weights[person] @ ridge.spread, primal, atol=1e-6)
    assert not weights[1, [2, 7]].any()


def test_the_penalty_is_the_one_with_the_least_leave_one_out_error(gradients):
    residuals = np.random.default_rng(2).standard_normal((1, 12))
    ridge = ResponseRidge(gradients)
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for item in range(12):
            rest = residuals.copy()
            rest[0, item] = np.nan
            weights, _ = ridge.solve(rest, penalty=penalty)
            error += (residuals[0, item] - gradients[item] @ (weights[0] @ ridge.spread)) ** 2
        errors.append(error)
    assert ridge.solve(residuals)[1][0] == PENALTIES[int(np.argmin(errors))]


def test_answers_that_the_gradients_explain_are_steered_more_than_noise(gradients):
    ridge, rng = ResponseRidge(gradients), np.random.default_rng(3)
    explained = gradients @ rng.standard_normal(40) / 6
    _, strong = ridge.solve(explained[None])
    _, weak = ridge.solve(rng.standard_normal((50, 12)))
    assert strong[0] < np.median(weak)


def test_offsets_lie_where_the_model_moves(gradients):
    """With full trust, in the span of the shifts alone; with less, mostly there."""
    rng = np.random.default_rng(4)
    shifts = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 40))
    inside = np.linalg.svd(shifts)[2][:3]
    shares = []
    for trust in (1.0, 0.9, 0.0):
        ridge = ResponseRidge(gradients, shifts, trust=trust)
        offset = ridge.solve(rng.standard_normal((1, 12)), penalty=4.0)[0][0] @ ridge.spread
        shares.append(np.linalg.norm(inside @ offset) / np.linalg.norm(offset))
    assert shares[0] == pytest.approx(1, abs=1e-4)
    assert shares[0] > shares[1] > shares[2]


def test_whitened_coordinates_are_the_same_fit(gradients):
    ridge = ResponseRidge(gradients, np.random.default_rng(5).standard_normal((30, 40)))
    residuals = np.random.default_rng(6).standard_normal((2, 12))
    weights, penalties = ridge.solve(residuals)
    response, inwards, outwards = ridge.whitened()
    at = weights @ inwards
    np.testing.assert_allclose(at @ outwards, weights @ ridge.spread, atol=1e-4)
    # The ridge is the minimum of half the squared residuals plus half the penalty: its slope there is zero.
    slope = (at * response) - residuals @ inwards + penalties[:, None] * at
    np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_a_person_without_answers_moves_nothing(gradients):
    weights, penalty = ResponseRidge(gradients).solve(np.full((1, 12), np.nan))
    assert not weights.any()
    assert penalty[0] == PENALTIES[-1]
