import json

import pytest
from pydantic import ValidationError

from persona_align.errors import UnknownDimensionError
from persona_align.preferences import ALIGNX, Dimension, PreferenceSpace

UNITS = Dimension(
    key="units",
    high="Prefers metric units",
    low="Prefers imperial units",
    high_statements=["Give it to me in kilometres.", "I think in grams."],
    low_statements=["Give it to me in miles.", "I think in ounces."],
)


def test_alignx_has_the_papers_dimensions(benchmark_data):
    published = json.loads((benchmark_data / "alignx" / "dimensions.json").read_text(encoding="utf-8"))
    ours = [(d.key, d.family, d.high, d.low) for d in ALIGNX]
    assert ours == [(d["key"], d["family"], d["high"], d["low"]) for d in published]


def test_alignx_flags():
    assert {d.key for d in ALIGNX if d.sensitive} == {"age_group", "gender"}
    assert {d.key for d in ALIGNX if d.condition_on == "none"} == {"aggression", "abasement"}
    assert {d.condition_on for d in ALIGNX if d.family == "response_quality"} == {"high"}
    assert sum(d.open_valued for d in ALIGNX) == 6
    assert ALIGNX["music"].scope == "topic"
    assert ALIGNX["conciseness"].scope == ALIGNX["humor"].scope == "style"


def test_no_default_reading_reaches_a_blocked_pole():
    for dimension in ALIGNX:
        for value in (-1.0, -0.1, 0.1, 1.0):
            if dimension.key in {"aggression", "abasement"}:
                assert not dimension.usable(value)
            elif dimension.family == "response_quality":
                assert dimension.usable(value) == (value > 0)
            else:
                assert dimension.usable(value)


def test_subset_extend_and_build_from_scratch():
    small = ALIGNX.subset(["play", "humor"])
    assert small.keys == ("play", "humor")
    more = small.extend(UNITS)
    assert more["units"] is UNITS
    assert more.index("units") == 2
    own = PreferenceSpace(dimensions=(UNITS,), name="mine")
    assert PreferenceSpace.model_validate_json(own.model_dump_json()) == own
    assert own.fingerprint != small.fingerprint == ALIGNX.subset(["play", "humor"]).fingerprint


def test_select_takes_keys_and_families():
    assert ALIGNX.select(["humor"]) == {"humor"}
    assert len(ALIGNX.select(["interests"])) == 43
    with pytest.raises(UnknownDimensionError, match="'humor'"):
        ALIGNX.select(["humour"])


@pytest.mark.parametrize(
    "change",
    [{"high_statements": ["only one"]}, {"low_statements": []}, {"high_statements": ["a", " "]}, {"key": ""}],
)
def test_a_dimension_needs_two_real_statements_a_pole(change):
    with pytest.raises(ValidationError):
        Dimension(**{**UNITS.model_dump(), **change})


def test_a_space_needs_distinct_dimensions():
    with pytest.raises(ValidationError, match="units"):
        PreferenceSpace(dimensions=(UNITS, UNITS))
    with pytest.raises(ValidationError, match="at least one"):
        PreferenceSpace(dimensions=())


def test_unknown_keys_suggest_the_nearest():
    with pytest.raises(UnknownDimensionError, match="conciseness"):
        ALIGNX["concisenes"]
    assert "humor" in ALIGNX
    assert "humour" not in ALIGNX
