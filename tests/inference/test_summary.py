"""A summary weighs what its records weighed: the vector stays where it is when they are dropped."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from persona_align.inference import fold, summarise
from persona_align.inference.evidence import COLUMNS, SKETCH, _of_summary
from persona_align.preferences import ALIGNX
from persona_align.records import Summary, Turn

START = datetime(2025, 1, 1, tzinfo=UTC)
FIRST = 2
"""The first dimension that is not sensitive."""


def history(seed, count, *, gap_hours=9.0, turn=None, width=SKETCH):
    """Records of somebody whose preferences about five dimensions are noisy; one of them turns after `turn` records."""
    given = np.random.default_rng(seed)
    means = given.choice([-0.7, 0.7], 5)
    items = []
    for i in range(count):
        dimensions = given.choice(5, given.integers(0, 3), replace=False)
        rows = np.zeros((len(dimensions), len(COLUMNS) + SKETCH), np.float32)
        for row, dimension in zip(rows, dimensions, strict=True):
            mean = means[dimension] * (-1 if turn is not None and dimension == 0 and i >= turn else 1)
            row[:3] = FIRST + dimension, np.clip(mean + 0.2 * given.standard_normal(), -1, 1), given.uniform(0.2, 0.9)
            sketch = given.standard_normal(width)
            row[len(COLUMNS) : len(COLUMNS) + width] = sketch / np.linalg.norm(sketch)
        items.append((Turn(role="user", text=f"{i}", at=START + timedelta(hours=gap_hours * i)), {"evidence": rows}))
    return items


def capped(items, step, most):
    """What is left when memory drops all but the newest `most` records after every `step` of them."""
    kept = []
    for start in range(0, len(items), step):
        kept += items[start : start + step]
        surplus = len(kept) - most
        if surplus > 0:
            summary, numbers = summarise([record for record, _ in kept[:surplus]], fold(kept, ALIGNX))
            evidence = _of_summary(summary, numbers["summed"], ALIGNX)
            kept = [(summary, {**numbers, "evidence": evidence}), *kept[surplus:]]
    return kept


def distance(one, other):
    return float(np.abs(one.values - other.values).max()), float(np.abs(one.confidence - other.confidence).max())


@pytest.mark.parametrize("seed", range(4))
def test_dropping_records_leaves_the_vector_where_it_was(seed):
    items = history(seed, 300)
    before = fold(items, ALIGNX).vector
    after = fold(capped(items, 300, 40), ALIGNX).vector
    values, confidence = distance(before, after)
    assert values < 0.02
    assert confidence < 0.02
    np.testing.assert_allclose(before.support, after.support, rtol=0.02)
    without = fold(items[-40:], ALIGNX).vector
    assert sum(distance(before, without)) > 3 * (values + confidence)  # it is not the newest forty that say it all


@pytest.mark.parametrize("seed", range(4))
def test_summaries_of_summaries_drift_little(seed):
    items = history(seed, 600)
    values, confidence = distance(fold(items, ALIGNX).vector, fold(capped(items, 50, 30), ALIGNX).vector)
    assert values < 0.05
    assert confidence < 0.05


def test_age_still_counts():
    items = history(5, 200, gap_hours=24 * 7)
    values, confidence = distance(fold(items, ALIGNX).vector, fold(capped(items, 40, 20), ALIGNX).vector)
    assert values < 0.05
    assert confidence < 0.05


def test_a_change_of_mind_stays_one():
    items = history(6, 200, turn=100)
    before, after = fold(items, ALIGNX).vector, fold(capped(items, 50, 30), ALIGNX).vector
    assert np.sign(before.values[FIRST]) == np.sign(after.values[FIRST]) != 0
    assert distance(before, after)[0] < 0.08


def test_what_is_said_again_after_it_was_dropped_is_not_new():
    items = history(7, 300, width=2)  # everybody says much the same
    values, confidence = distance(fold(items, ALIGNX).vector, fold(capped(items, 60, 30), ALIGNX).vector)
    assert values < 0.1
    assert confidence < 0.1


def test_a_summary_is_bounded_and_says_what_it_stands_for():
    kept = capped(history(8, 2000), 500, 50)
    summary, numbers = kept[0]
    assert isinstance(summary, Summary)
    assert (summary.records, summary.since) == (1950, START)
    assert summary.at == kept[1][0].at - timedelta(hours=9)
    assert set(summary.dimensions) == set(ALIGNX.keys[FIRST : FIRST + 5])
    assert len(numbers["summed"]) <= 5 * 16


def test_in_another_space_the_dimensions_that_it_has_count():
    kept = capped(history(9, 100), 100, 10)
    other = type(ALIGNX)(name="two", dimensions=tuple(ALIGNX.dimensions[i] for i in (6, 4)))
    rows = _of_summary(kept[0][0], kept[0][1]["summed"], other)
    assert set(rows[:, 0]) == {0.0, 1.0}
    own = kept[0][1]["evidence"]
    np.testing.assert_array_equal(np.sort(rows[rows[:, 0] == 1][:, 1]), np.sort(own[own[:, 0] == 4][:, 1]))


def test_nothing_said_leaves_a_summary_of_nothing():
    items = [(Turn(role="user", text=f"{i}", at=START), {}) for i in range(3)]
    summary, numbers = summarise([record for record, _ in items], fold(items, ALIGNX))
    assert (summary.records, summary.dimensions, len(numbers["summed"])) == (3, (), 0)
    assert not _of_summary(summary, numbers["summed"], ALIGNX).size
