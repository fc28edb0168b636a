import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from persona_align.preferences import ALIGNX, PreferenceVector

SMALL = ALIGNX.subset(["humor", "play", "conciseness"])


def test_json_round_trip_is_exact():
    vector = PreferenceVector.of({"humor": 0.1 + 0.2, "play": -1 / 3}, confidence=0.7)
    again = PreferenceVector.model_validate_json(vector.model_dump_json())
    assert again == vector
    assert again.values.tobytes() == vector.values.tobytes()
    assert again.space is ALIGNX


def test_own_space_round_trip():
    vector = PreferenceVector.of({"humor": 0.5}, space=SMALL)
    assert PreferenceVector.model_validate_json(vector.model_dump_json()) == vector


def test_arrays_are_copies_and_read_only():
    values = np.zeros(3)
    vector = PreferenceVector(space=SMALL, values=values, confidence=np.zeros(3), support=np.zeros(3))
    values[0] = 1
    assert vector.values[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        vector.values[0] = 1


def test_directions_use_alignx_thresholds():
    vector = PreferenceVector(
        space=ALIGNX.subset(["humor", "play", "conciseness", "order", "openness", "affiliation"]),
        values=[0.2, -0.2, 0.19, -0.19, 0.9, 0.0],
        confidence=[1, 1, 1, 1, 0.1, 0],
        support=np.ones(6),
    )
    assert vector.directions().tolist() == [1.0, 0.0, 0.5, 0.5, 0.5, 0.5]


def test_top_ranks_by_value_times_confidence_and_skips_the_unknown():
    vector = PreferenceVector(space=SMALL, values=[0.9, -0.5, 0], confidence=[0.3, 0.9, 0], support=[1, 1, 0])
    assert [reading.key for reading in vector.top()] == ["play", "humor"]
    assert [reading.key for reading in vector.confident()] == ["play", "humor"]
    assert vector["play"].pole == SMALL["play"].low
    assert "Likes humor (+0.90, confidence 0.30)" in vector.describe()


def test_unknown_says_so():
    nobody = PreferenceVector.unknown()
    assert nobody.top() == []
    assert nobody.describe() == "Nothing is known yet."
    assert set(nobody.directions()) == {0.5}


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_negation_is_its_own_inverse(values):
    vector = PreferenceVector(space=SMALL, values=values, confidence=np.ones(3), support=np.ones(3))
    negated = -vector
    assert -negated == vector
    assert np.array_equal(negated.values, -vector.values)


@pytest.mark.parametrize(
    "change",
    [
        {"values": [0, 0]},
        {"values": [2, 0, 0]},
        {"values": [np.nan, 0, 0]},
        {"confidence": [-0.1, 1, 1]},
        {"support": [np.inf, 0, 0], "values": [5, 0, 0]},
        {"values": [0.5, 0, 0], "confidence": [0, 1, 1]},
    ],
)
def test_impossible_vectors_are_refused(change):
    fields = {"values": np.zeros(3), "confidence": np.ones(3), "support": np.ones(3)}
    with pytest.raises(ValidationError):
        PreferenceVector(space=SMALL, **{**fields, **change})


def test_what_is_printed_is_short_enough_to_read():
    vector = PreferenceVector.of({"humor": 0.9})
    assert repr(vector) == str(vector) == "PreferenceVector(Likes humor (+0.90, confidence 1.00))"
    assert repr(vector["humor"]) == "Reading('humor': Likes humor, value +0.90, confidence 1.00, support 1.00)"
    assert len(repr(ALIGNX["humor"])) < 250
