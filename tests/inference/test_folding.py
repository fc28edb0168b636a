"""Folding onto an earlier posterior gives, bit for bit, what folding everything gives."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from persona_align.inference import Posteriors, fold
from persona_align.inference import posteriors as posteriors_module
from persona_align.inference.evidence import COLUMNS, SKETCH
from persona_align.inference.repeats import BLOCK, WINDOW, repeated
from persona_align.preferences import ALIGNX
from persona_align.records import Correction, Turn

START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Scored:
    record: object
    numbers: dict


def history(seed, count, dimensions=90, gap_hours=7.0):
    """Records with claims about a few dimensions, some undated, some corrections by hand."""
    rng = np.random.default_rng(seed)
    at = START
    for number in range(count):
        at += timedelta(hours=float(rng.exponential(gap_hours)))
        draw = rng.random()
        if draw < 0.05:
            key = ALIGNX.keys[rng.integers(dimensions)]
            lock = {"action": "lock", "value": float(rng.uniform(-1, 1))} if draw < 0.03 else {"action": "release"}
            yield Scored(Correction(dimension=key, at=at, **lock), {})
            continue
        rows = np.zeros((rng.integers(0, 6), len(COLUMNS) + SKETCH), np.float32)
        rows[:, 0] = rng.integers(0, dimensions, len(rows))
        rows[:, 1] = rng.uniform(-1, 1, len(rows)) * 0.3 + rng.choice([-0.6, 0.6], len(rows), p=[0.2, 0.8])
        rows[:, 2] = rng.uniform(0, 1, len(rows))
        rows[:, 4] = rng.random(len(rows)) < 0.1
        rows[:, 5:] = rng.normal(size=(len(rows), SKETCH)) + 2.0 * rng.random()
        rows[:, 5:] /= np.linalg.norm(rows[:, 5:], axis=1, keepdims=True)
        dated = None if rng.random() < 0.05 else at
        yield Scored(Turn(role="user", text=f"{seed} {number}", at=dated), {"evidence": rows} if len(rows) else {})


def pairs(entries):
    return [(entry.record, entry.numbers) for entry in entries]


def same(one, other):
    for name in ("values", "confidence", "support"):
        assert getattr(one.vector, name).tobytes() == getattr(other.vector, name).tobytes()
    for key in ALIGNX.keys:
        assert one.contributions(key) == other.contributions(key)
        assert one.history(key) == other.history(key)


@pytest.mark.parametrize(("seed", "dimensions", "gap"), [(0, 90, 7.0), (1, 3, 0.01), (2, 12, 200.0), (3, 1, 1.0)])
def test_folding_onto_is_folding_all(seed, dimensions, gap):
    entries = list(history(seed, 400, dimensions, gap))
    rng = np.random.default_rng(seed)
    posterior, done = None, 0
    while done < len(entries):
        step = int(rng.choice([1, 1, 2, 30]))
        posterior = fold(pairs(entries[done : done + step]), ALIGNX, enabled=["gender"], onto=posterior)
        done += step
        if rng.random() < 0.1 or done >= len(entries):
            same(posterior, fold(pairs(entries[:done]), ALIGNX, enabled=["gender"]))


def test_repetition_is_compared_again_only_where_it_may_change():
    rng = np.random.default_rng(0)
    sketches = rng.normal(size=(700, SKETCH)).astype(np.float32)
    sketches[rng.integers(0, 700, 200)] = sketches[:200]
    sketches /= np.linalg.norm(sketches, axis=1, keepdims=True)
    signs = rng.choice([-1.0, 1.0], 700)
    share = np.zeros(0)
    for count in range(1, 701, 7):
        share = repeated(sketches[:count], signs[:count], share)
        assert share.tobytes() == repeated(sketches[:count], signs[:count]).tobytes()
    assert (share > 0.9).sum() > 10


def test_repetition_is_found_within_the_window_in_the_same_direction_only():
    sketches = np.eye(SKETCH, dtype=np.float32)[np.r_[0, np.arange(WINDOW - 1) % 20 + 1, 0, 0]]
    signs = np.r_[np.ones(WINDOW + 1), -1.0]
    share = repeated(sketches, signs)
    assert (share[0], share[WINDOW], share[WINDOW + 1]) == (1.0, 0.0, 0.0)
    far = np.concatenate([sketches[:1], np.zeros((BLOCK + WINDOW, SKETCH), np.float32), sketches[:1]])
    assert not repeated(far, np.ones(len(far))).any()


def test_posteriors_are_kept_by_revision_and_extended():
    entries = tuple(history(5, 60))
    posteriors = Posteriors(ALIGNX)
    posteriors.fold("ada", 1, entries[:40])
    assert posteriors.get("ada", 1) is posteriors.get("ada", 1)
    assert posteriors.get("ada", 2) is posteriors.get("bob", 1) is None
    assert (posteriors.known("ada", entries), posteriors.known("bob", entries)) == (40, 0)
    same(posteriors.fold("ada", 2, entries), fold(pairs(entries), ALIGNX))
    # A record that came late, one that was forgotten, one that was scored again: everything is folded.
    for changed in (
        (*entries[:3], *entries[4:]),
        entries[1:],
        entries[:10],
        (*entries[1:2], *entries[:1], *entries[2:]),
    ):
        assert posteriors.known("ada", changed) == 0
        same(posteriors.fold("ada", 3, changed), fold(pairs(changed), ALIGNX))
        posteriors.fold("ada", 2, entries)
    posteriors.drop("ada")
    assert posteriors.get("ada", 2) is None
    assert posteriors.known("ada", entries) == 0


def test_posteriors_hold_a_bounded_number_of_records(monkeypatch):
    monkeypatch.setattr("persona_align.inference.posteriors.MOST_RECORDS", 100)
    entries = tuple(history(6, 60))
    posteriors = Posteriors(ALIGNX)
    for user in "abc":
        posteriors.fold(user, 1, entries[:40])
    assert [posteriors.get(user, 1) is None for user in "abc"] == [True, False, False]
    posteriors.fold("d", 1, (*entries, *history(7, 60)))
    assert [posteriors.get(user, 1) is None for user in "bcd"] == [True, True, False]


def test_what_is_folded_while_a_user_is_dropped_is_not_kept(monkeypatch):
    posteriors = Posteriors(ALIGNX)
    original = posteriors_module.fold

    def meanwhile(*args, **more):
        posteriors.drop("ada")
        return original(*args, **more)

    monkeypatch.setattr(posteriors_module, "fold", meanwhile)
    posteriors.fold("ada", 1, ())
    assert posteriors.get("ada", 1) is None
    monkeypatch.undo()
    posteriors.fold("ada", 1, ())
    assert posteriors.get("ada", 1) is not None


def test_a_record_of_the_same_day_leaves_the_other_dimensions_as_they_were():
    def claim(dimension, at):
        rows = np.zeros((1, len(COLUMNS) + SKETCH), np.float32)
        rows[0, :3] = dimension, 0.8, 0.9
        return Turn(role="user", text=f"{dimension} {at}", at=at), {"evidence": rows}

    before = fold([claim(5, START), claim(6, START + timedelta(hours=1))], ALIGNX)
    same_day = fold([claim(6, START + timedelta(hours=23))], ALIGNX, onto=before)
    assert same_day.claims[5] is before.claims[5]
    next_day = fold([claim(6, START + timedelta(hours=24))], ALIGNX, onto=before)
    assert next_day.claims[5].ages.tolist() == [1.0]
