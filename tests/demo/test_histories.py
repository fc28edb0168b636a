import pytest

from persona_align.demo import QUESTION, QUESTIONS, sample_histories
from persona_align.records import Comparison, Turn


@pytest.mark.parametrize("user", ["ada", "ben"])
def test_a_history_is_made_of_dated_turns_and_two_comparisons(user):
    records = sample_histories()[user]
    assert len(records) >= 14
    assert sum(isinstance(record, Comparison) for record in records) == 2
    assert {record.role for record in records if isinstance(record, Turn)} == {"user", "assistant"}
    times = [record.at for record in records]
    assert times == sorted(times)
    assert all(at is not None and at.utcoffset() is not None for at in times)


def test_the_histories_are_of_different_people_and_questions_differ():
    ada, ben = ({record.text for record in records if isinstance(record, Turn)} for records in (
        sample_histories()["ada"], sample_histories()["ben"]
    ))  # fmt: skip
    assert not ada & ben
    assert QUESTION in QUESTIONS
    assert len(set(QUESTIONS)) == len(QUESTIONS) >= 10
