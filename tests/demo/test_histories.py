import pytest

from persona_align.demo import QUESTION, QUESTIONS, sample_histories
from persona_align.records import parse_record


@pytest.mark.parametrize("user", ["ada", "ben"])
def test_a_history_is_made_of_dated_turns_and_two_comparisons(user):
    entries = sample_histories()[user].entries
    records = [parse_record({"kind": "turn" if "role" in entry else "comparison", **entry}) for entry in entries]
    assert len(records) >= 14
    assert sum(record.kind == "comparison" for record in records) == 2
    assert {entry["role"] for entry in entries if "role" in entry} == {"user", "assistant"}
    times = [record.at for record in records]
    assert times == sorted(times)
    assert all(at is not None and at.utcoffset() is not None for at in times)


def test_the_histories_are_of_different_people_and_questions_differ():
    ada, ben = sample_histories()["ada"], sample_histories()["ben"]
    assert not {e.get("text") for e in ada.entries if "text" in e} & {e.get("text") for e in ben.entries if "text" in e}
    assert QUESTION in QUESTIONS
    assert len(set(QUESTIONS)) == len(QUESTIONS) >= 10
