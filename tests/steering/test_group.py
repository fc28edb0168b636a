"""Borrowing from a group: what it says where a person said nothing."""

import numpy as np
import pytest

from persona_align.steering.group import Group
from persona_align.steering.search import ActivationSearch
from tests.steering.test_search import STATEMENTS
from tests.steering.tiny_chat import tiny_chat


def simulated(people, *, statements=10, seed=0):
    """People with one trait, which half of the statements are keyed against."""
    rng = np.random.default_rng(seed)
    trait = rng.normal(size=(people, 1))
    sign = np.where(np.arange(statements) % 2, -1, 1)
    return np.clip(np.round(3 + trait * sign + rng.normal(scale=0.6, size=(people, statements))), 1, 5)


def test_the_group_predicts_better_the_more_is_known_and_beats_its_own_mean():
    group, others = Group(simulated(75)), simulated(200, seed=1)

    def error(shown):
        few = others.copy()
        few[:, shown:] = np.nan
        return np.square(group.complete(few) - others)[:, 5:].mean()

    mean = np.square(group.mean - others)[:, 5:].mean()
    assert error(5) < error(2) < error(1) < 0.8 * mean


def test_what_was_answered_stays_and_who_said_nothing_stays_unknown():
    rows = np.array([[5, *[np.nan] * 9], [np.nan] * 10])
    before = rows.copy()
    found = Group(simulated(30)).complete(rows)
    assert np.array_equal(rows, before, equal_nan=True)
    assert found[0, 0] == 5
    assert ((found[0] >= 1) & (found[0] <= 5)).all()
    assert np.isnan(found[1]).all()


def test_missing_answers_and_unanimous_statements_in_the_group_are_borne():
    answers = simulated(30)
    answers[::3, 4] = np.nan
    answers[:, 7] = 4
    found = Group(answers).complete([[5, *[None] * 9]])
    assert np.isfinite(found).all()
    assert found[0, 7] == pytest.approx(4)


@pytest.mark.parametrize(
    ("answers", "said"),
    [(np.ones((3, 10)), "at least 8"), (np.ones(10), "at least 8"), (np.full((9, 10), np.nan), "statement 0")],
)
def test_a_group_that_says_nothing_is_refused(answers, said):
    with pytest.raises(ValueError, match=said):
        Group(answers)


def test_a_person_of_few_answers_is_fitted_as_if_the_group_had_answered_for_them():
    search = ActivationSearch(*tiny_chat(), STATEMENTS, keep=4)
    group, few = simulated(40), [5, 1, *[None] * 8]
    whole = Group(group).complete([few])[0]
    assert search.fit(few, group=group).content_hash == search.fit(whole).content_hash
    assert search.fit(few, group=group).content_hash != search.fit(few).content_hash
    assert search.fit([None] * 10, group=group).is_zero
    neutral = search.fit([3, *[None] * 9], group=group)
    assert neutral.is_zero
    assert "neutral" in neutral.reason
    with pytest.raises(ValueError, match="10 statements"):
        search.fit(few, group=group[:, :4])
