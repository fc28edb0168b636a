"""The closed forms against the reference's procedure, written naively."""

import numpy as np
import pytest

from persona_align.steering.probes import HeadProbes, sides
from tests.oracles.pas_reference import planted, reference_fit

KEEP = 12


@pytest.mark.parametrize("seed", range(3))
def test_same_heads_and_directions_as_the_reference(seed):
    agree, disagree, answers, carrying = planted(seed)
    expected = reference_fit(agree, disagree, answers[0], keep=KEEP)
    probes, signs = HeadProbes(agree, disagree), sides(answers)
    found = probes.mass_mean(signs[0], probes.scores(signs)[0], KEEP)
    shared = set(found.heads) & set(expected.heads)
    assert len(shared) >= 0.8 * KEEP
    assert len(set(found.heads) & set(carrying)) >= 0.95 * KEEP
    for head in shared:
        mine, theirs = list(found.heads).index(head), list(expected.heads).index(head)
        assert found.directions[mine] @ expected.directions[theirs] >= 0.999
        assert found.sigma[mine] == pytest.approx(expected.sigma[theirs], rel=1e-4)


@pytest.mark.parametrize("head_dim", [8, 40])
def test_a_score_is_what_refitting_without_the_item_gives(head_dim):
    """The closed form against a ridge that is really refitted for every item left out."""
    agree, disagree, answers, _ = planted(3, heads=4, items=20, head_dim=head_dim, carrying=1)
    signs, probes = sides(answers), HeadProbes(agree, disagree)
    used = np.flatnonzero(signs[0])
    right = np.zeros(4)
    for head in range(4):
        # Unused items count with the label 0: the hat matrix is the same for everybody.
        rows = probes.difference[head].astype(float)
        penalty = np.trace(rows @ rows.T) / len(rows)
        for item in used:
            rest = np.delete(np.arange(len(rows)), item)
            gram = rows[rest].T @ rows[rest] + penalty * np.eye(head_dim)
            weights = np.linalg.solve(gram, rows[rest].T @ signs[0, rest])
            right[head] += (rows[item] @ weights) * signs[0, item] > 0
    scores = probes.scores(signs)[0]
    np.testing.assert_array_equal(np.round(scores * len(used)), right)


def test_scoring_many_equals_scoring_each():
    agree, disagree, answers, _ = planted(1, people=101)
    probes = HeadProbes(agree, disagree)
    together = probes.scores(sides(answers))
    alone = np.concatenate([probes.scores(sides(answers[k : k + 1])) for k in range(101)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.array_equal(np.argsort(-together, kind="stable")[:, :KEEP], np.argsort(-alone, kind="stable")[:, :KEEP])


def test_nothing_is_learned_from_random_answers():
    agree, disagree, _, _ = planted(0, carrying=1, strength=0.0)
    signs = np.where(np.random.default_rng(5).random((200, 120)) < 0.5, -1.0, 1.0)
    assert HeadProbes(agree, disagree).scores(signs).mean() == pytest.approx(0.5, abs=0.01)


def test_equal_heads_rank_by_position():
    agree, disagree, answers, _ = planted(0, heads=3, carrying=1)
    agree[2], disagree[2] = agree[1], disagree[1]
    probes, signs = HeadProbes(agree, disagree), sides(answers)
    scores = probes.scores(signs)[0]
    order = list(probes.mass_mean(signs[0], scores, 3).heads)
    assert scores[1] == scores[2]
    assert order.index(1) < order.index(2)
