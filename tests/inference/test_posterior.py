"""The fold: repetition, age, changes of mind, contradiction, locks, sensitive dimensions."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from persona_align.inference import fold
from persona_align.inference.evidence import COLUMNS, SKETCH
from persona_align.preferences import ALIGNX
from persona_align.records import Correction, Turn

START = datetime(2025, 1, 1, tzinfo=UTC)


def claim(key, value, *, day=0.0, about=None, weight=0.9, shift=False):
    """A record that says something, and the numbers for it; claims about the same number repeat each other."""
    row = np.zeros(len(COLUMNS) + SKETCH, np.float32)
    row[:5] = ALIGNX.index(key), value, weight, 0, shift
    if about is not None:
        row[len(COLUMNS) + about % SKETCH] = 1.0
    text = f"{key} {value} {day} {about}"
    return Turn(role="user", text=text, at=START + timedelta(days=day)), {"evidence": row[None]}


def test_nothing_said_is_nothing_known():
    vector = fold([(Turn(role="user", text="Hello"), {})], ALIGNX).vector
    assert not vector.confidence.any()
    assert not vector.values.any()


def test_more_independent_claims_are_more_certain_and_repetitions_are_not():
    one = fold([claim("humor", 0.8, about=0, weight=0.4)], ALIGNX).vector["humor"]
    same = fold([claim("humor", 0.8, day=d, about=0, weight=0.4) for d in range(5)], ALIGNX).vector["humor"]
    new = fold([claim("humor", 0.8, day=d, about=d, weight=0.4) for d in range(5)], ALIGNX).vector["humor"]
    assert same.confidence == pytest.approx(one.confidence, abs=0.01)
    assert new.confidence > one.confidence + 0.1
    assert new.support > 3 * one.support


def test_contradiction_lowers_confidence():
    agree = fold([claim("openness", 0.8, day=d, about=d) for d in range(6)], ALIGNX).vector["openness"]
    mixed = fold([claim("openness", 0.8 * (-1) ** d, day=d, about=d) for d in range(6)], ALIGNX).vector["openness"]
    assert mixed.confidence < agree.confidence - 0.2
    assert abs(mixed.value) < 0.4


@pytest.mark.parametrize("before", [1, 2, 5, 20])
def test_the_latest_clear_statements_win_within_three_and_the_old_value_stays(before):
    old = [claim("conciseness", -0.9, day=d, about=d) for d in range(before)]
    new = [claim("conciseness", 0.9, day=before + d, about=30 + d) for d in range(3)]
    posterior = fold(old + new, ALIGNX)
    assert posterior.vector["conciseness"].value > 0.3
    if before >= 5:
        earlier, current = posterior.history("conciseness")
        assert (earlier.value < 0 < current.value, earlier.current, current.current) == (True, False, True)
        assert (earlier.since, earlier.until) == (START, START + timedelta(days=before - 1))
        assert {record_id for record_id, _ in posterior.contributions("conciseness")} == {r.id for r, _ in new}


def test_an_announced_change_wins_at_once():
    old = [claim("humor", 0.9, day=d, about=d) for d in range(3)]
    posterior = fold([*old, claim("humor", -1.0, day=4, about=9, weight=1.0, shift=True)], ALIGNX)
    assert posterior.vector["humor"].value < 0


def test_age_is_counted_from_the_newest_record_not_the_clock():
    items = [claim("humor", 0.9, day=0, about=0), claim("humor", -0.3, day=800, about=1)]
    shifted = [(r.model_copy(update={"at": r.at - timedelta(days=3000)}), n) for r, n in items]
    assert fold(items, ALIGNX).vector == fold(shifted, ALIGNX).vector
    recent = fold([claim("humor", 0.9, day=799, about=0), items[1]], ALIGNX)
    assert fold(items, ALIGNX).vector["humor"].value < recent.vector["humor"].value


def test_a_lock_wins_and_a_release_undoes_it():
    said = [claim("humor", 0.9, day=d, about=d) for d in range(4)]
    lock = (Correction(dimension="humor", value=-0.5), {})
    release = (Correction(dimension="humor", action="release"), {})
    locked = fold([*said, lock], ALIGNX)
    assert (locked.vector["humor"].value, locked.vector["humor"].confidence) == (-0.5, 1.0)
    assert fold([lock, *said], ALIGNX).vector["humor"].value == -0.5
    assert fold([*said, lock, release], ALIGNX).vector == fold(said, ALIGNX).vector


def test_sensitive_dimensions_are_off_until_enabled_and_any_may_be_disabled():
    items = [claim("gender", 0.9), claim("humor", 0.9), claim("music", 0.9)]
    assert fold(items, ALIGNX).vector["gender"].confidence == 0
    assert fold(items, ALIGNX, enabled=["gender"]).vector["gender"].confidence > 0
    off = fold(items, ALIGNX, disabled=["interests"]).vector
    assert off["humor"].confidence == off["music"].confidence == 0
    lock = (Correction(dimension="gender", value=0.5), {})
    assert fold([lock], ALIGNX).vector["gender"].confidence == 0


def test_contributions_are_signed_and_sum_over_a_record():
    items = [claim("humor", 0.9, day=0, about=0), claim("humor", -0.4, day=1, about=1)]
    found = dict(fold(items, ALIGNX).contributions("humor"))
    assert found[items[0][0].id] > 0 > found[items[1][0].id]


def test_undated_records_are_folded_in_order():
    items = [(Turn(role="user", text=str(i)), claim("humor", 0.9, about=i)[1]) for i in range(3)]
    posterior = fold(items, ALIGNX)
    assert posterior.vector["humor"].confidence > 0
    assert posterior.history("humor")[0].since is None
