"""Scores over PAPI answers: figures known beforehand, norms, and intervals."""

import numpy as np
import pytest

from persona_align.evaluation.intervals import over_people
from persona_align.evaluation.papi_data import Items, load_items, load_people
from persona_align.evaluation.papi_scoring import (
    absolute_errors,
    composite,
    facet_scores,
    held_out,
    norms,
    trait_scores,
    trivial_predictions,
)

ITEMS = Items(
    numbers=tuple(range(1, 11)),
    texts=tuple("abcdefghij"),
    signs=np.array([1, -1] * 5),
    facets=("O1", "O1", "C1", "C1", "E1", "E1", "A1", "A1", "N1", "N1"),
    train=np.array([True, False] * 5),
)


def test_trait_scores_turn_reverse_keyed_answers_round():
    agreement = np.tile([5.0, 1.0], 5)[None]
    np.testing.assert_array_equal(trait_scores(agreement, ITEMS), np.full((1, 5), 5.0))
    np.testing.assert_array_equal(facet_scores(agreement, ITEMS), np.full((1, 5), 5.0))


def test_an_unknown_trait_is_nan():
    agreement = np.full((1, 10), np.nan)
    agreement[0, 0] = 4
    scores = trait_scores(agreement, ITEMS)
    assert scores[0, 0] == 4
    assert np.isnan(scores[0, 1:]).all()


def test_an_unreadable_prediction_is_the_worst_answer():
    errors = absolute_errors(np.array([np.nan, np.nan, 2.0]), np.array([[2.0, 5.0, np.nan]]))
    np.testing.assert_array_equal(errors, [[3.0, 4.0, np.nan]])


def test_the_composite_sums_the_traits():
    errors = np.tile([1.0, 3.0], 5)[None].repeat(2, 0)
    errors[1] = np.nan
    total, traits = composite(errors, ITEMS)
    assert total == 10.0
    np.testing.assert_array_equal(traits, [2.0] * 5)
    assert composite(errors, ITEMS, weights=np.array([3, 1]))[0] == 10.0


def test_own_trait_mean_predicts_the_other_way_for_reverse_keyed_items():
    people = np.full((1, 10), np.nan)
    people[0, ::2] = 5.0
    others = np.tile([2.0, 4.0], 5)[None].repeat(3, 0)
    found = trivial_predictions(people, ITEMS, others)
    np.testing.assert_array_equal(found["own trait mean"], [[1.0] * 5])
    np.testing.assert_array_equal(found["item median of others"], [[4.0] * 5])
    assert not np.isnan(found["ridge from the training answers"]).any()


def test_baselines_never_look_at_the_test_answers():
    rng = np.random.default_rng(0)
    people, others = rng.integers(1, 6, (2, 10)).astype(float), rng.integers(1, 6, (6, 10)).astype(float)
    before = trivial_predictions(people, ITEMS, others)
    people[:, 1::2] = 6 - people[:, 1::2]
    after = trivial_predictions(people, ITEMS, others)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_interval_covers_what_it_estimates():
    hits = 0
    for seed in range(100):
        sample = np.random.default_rng(seed).normal(1.0, 1.0, 40)
        interval = over_people(
            lambda counts, sample=sample: float(counts @ sample / counts.sum()), 40, draws=400, seed=seed
        )
        hits += interval.low <= 1.0 <= interval.high
    assert 85 <= hits <= 100


@pytest.mark.data
def test_the_trivial_baselines_on_the_real_people(benchmark_data):
    """The figures known beforehand for all 150 people."""
    items = load_items(benchmark_data / "papi/items.csv")
    agreement = load_people(benchmark_data / "papi/subjects.csv", items).agreement
    found = trivial_predictions(agreement, items, agreement)
    held = held_out(items)
    errors = {name: composite(absolute_errors(p, agreement[:, ~items.train]), held)[0] for name, p in found.items()}
    assert errors["always C"] == pytest.approx(3.74, abs=0.005)
    assert errors["item median of others"] == pytest.approx(2.81, abs=0.005)
    assert errors["own trait mean"] == pytest.approx(2.85, abs=0.005)
    assert errors["own facet mean"] == pytest.approx(2.71, abs=0.01)


@pytest.mark.data
def test_norms_put_real_people_around_fifty(benchmark_data):
    items = load_items(benchmark_data / "papi/items.csv")
    people = load_people(benchmark_data / "papi/subjects.csv", items)
    scores = [
        list(norms(answers, items, int(sex), age).values())
        for answers, sex, age in zip(people.agreement[:20], people.sexes, people.ages, strict=False)
    ]
    assert np.mean(scores) == pytest.approx(50, abs=5)
