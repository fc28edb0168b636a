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
        primal = np.linalg.solve(rows.T @ rows + 2.0 * ridge.scale * np.eye(40), rows.T @ row[known])
        np.testing.assert_allclose(weights[person] @ gradients, primal, atol=1e-10)
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
            error += (residuals[0, item] - gradients[item] @ (weights[0] @ gradients)) ** 2
        errors.append(error)
    assert ridge.solve(residuals)[1][0] == PENALTIES[int(np.argmin(errors))]


def test_answers_that_the_gradients_explain_are_steered_more_than_noise(gradients):
    ridge, rng = ResponseRidge(gradients), np.random.default_rng(3)
    explained = gradients @ rng.standard_normal(40) / 6
    _, strong = ridge.solve(explained[None])
    _, weak = ridge.solve(rng.standard_normal((50, 12)))
    assert strong[0] < np.median(weak)


def test_a_person_without_answers_moves_nothing(gradients):
    weights, penalty = ResponseRidge(gradients).solve(np.full((1, 12), np.nan))
    assert not weights.any()
    assert penalty[0] == PENALTIES[-1]
