import datetime as dt
import json
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_align.errors import InvalidRecordError, PersonaAlignError
from persona_align.records import MAX_TEXT, Comparison, Correction, Description, Turn, parse_record

UTC = dt.UTC
RECORDS = [
    Turn(role="user", text="Keep it short."),
    Turn(role="assistant", text="Fine.", at=dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), thread_id="t"),
    Comparison(prompt="Why?", chosen="Because.", rejected="There are many reasons."),
    Description(text="A retired teacher who gardens."),
    Correction(dimension="humor", value=0.8),
    Correction(dimension="humor", action="release"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_json_round_trip_keeps_identity(record):
    again = parse_record(json.loads(record.model_dump_json()))
    assert again == record
    assert again.id == record.id


def test_identity_is_the_content():
    assert Turn(role="user", text="a").id == Turn(role="user", text="a").id
    different = [
        Turn(role="user", text="b"),
        Turn(role="assistant", text="a"),
        Turn(role="user", text="a", thread_id="t"),
        Turn(role="user", text="a", at=dt.datetime(2026, 1, 1, tzinfo=UTC)),
        Description(text="a"),
    ]
    assert len({record.id for record in (Turn(role="user", text="a"), *different)}) == len(different) + 1
    assert Turn(role="user", text="a", id="mine").id == "mine"


def test_dating_a_record_keeps_its_identity():
    turn = Turn(role="user", text="a")
    dated = turn.dated(dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))))
    assert dated.id == turn.id
    assert dated.at == dt.datetime(2025, 12, 31, 22, tzinfo=UTC)
    assert turn.at is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Turn(role="user", text=""), "whitespace"),
        (lambda: Turn(role="user", text=" \n\t"), "whitespace"),
        (lambda: Turn(role="user", text=7), "text"),
        (lambda: Turn(role="robot", text="a"), "role"),
        (lambda: Turn(role="user"), "text"),
        (lambda: Turn(role="user", text="\ud800"), "surrogate"),
        (lambda: Turn(role="user", text="a\x00b"), "NUL"),
        (lambda: Turn(role="user", text="a" * (MAX_TEXT + 1)), "longer"),
        (lambda: Turn(role="user", text="a", at=dt.datetime(2026, 1, 1)), "timezone"),
        (lambda: Turn(role="user", text="a", colour="red"), "colour"),
        (lambda: Comparison(prompt="p", chosen="c", rejected=" "), "rejected"),
        (lambda: Correction(dimension="humor", value=float("nan")), "value"),
        (lambda: Correction(dimension="humor", value=1.5), "value"),
        (lambda: Correction(dimension="humor"), "lock"),
        (lambda: Correction(dimension="humor", action="release", value=0.1), "lock"),
        (lambda: parse_record({"kind": "poem"}), "kind"),
        (lambda: parse_record("text"), "not valid"),
    ],
)
def test_bad_input_says_what_is_wrong(make, says):
    with pytest.raises(InvalidRecordError, match=says) as caught:
        make()
    assert isinstance(caught.value, PersonaAlignError)
    assert caught.value.remedy


def test_a_megabyte_is_accepted():
    assert len(Turn(role="user", text="a" * MAX_TEXT).text) == MAX_TEXT


@given(st.text())
def test_any_text_is_a_turn_or_a_clear_error(text):
    storable = text.strip() and "\x00" not in text
    with nullcontext() if storable else pytest.raises(InvalidRecordError, match="text"):
        assert Turn(role="user", text=text).text == text


def test_records_are_frozen_and_know_their_author():
    with pytest.raises(Exception, match="frozen"):
        RECORDS[0].text = "other"
    assert [record.user_authored for record in RECORDS] == [True, False, True, True, True, True]
