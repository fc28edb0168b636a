"""The examination's messages: every dimension is stated in both parts, and what is stated exists."""

import tomllib

import pytest

from benchmarks.inference_sentences import MESSAGES, PARTS, Case, companions, shares
from persona_align.preferences import ALIGNX

DATA = tomllib.loads(MESSAGES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", PARTS)
def test_every_dimension_that_can_be_read_is_stated(part):
    stated = {said[:-1] for message in DATA[part] for said in message["says"]}
    assert stated == {d.key for d in ALIGNX if not d.sensitive and not d.open_valued}
    assert {said[-1] for message in DATA[part] for said in message["says"]} == {"+", "-"}
    assert all(key in ALIGNX for message in DATA[part] for key in message.get("may", ()))


def test_no_message_is_in_both_parts():
    texts = [message["text"] for part in PARTS for message in DATA[part]]
    assert len(texts) == len(set(texts)) == 300


def test_shares():
    says = {"humor": 1, "music": -1}
    cases = [
        Case("dev", "plain", "a", says, {"humor": 0.5, "music": 0.5, "cars": 0.3}, ("cars",)),
        Case("dev", "neutral", "b", {}, {}, ()),
    ]
    told = shares(cases)
    assert (told["right"], told["silent"], told["wrong sign"]) == (0.5, 0.0, 0.5)
    assert told["messages raising the unstated and unrelated"] == 0.5
    assert told["messages that state nothing and are silent"] == 1.0
    assert companions(["art"], [["art", "painting"], ["cars", "sports"]]) == {"art", "painting"}
