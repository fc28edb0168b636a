"""AlignX, PrefEval and persona-align's own files: what is history and what is the test."""

import json

import pytest

from persona_align.errors import InvalidRecordError
from persona_align.formats import open_source
from persona_align.records import Comparison, Correction, Description, Turn

PAIR = {"prompt": "Say hello.", "chosen": "Hi!", "rejected": "Good day to you."}
CASE = {
    "prompt": "A question held back",
    "chosen": "The held back answer",
    "rejected": "The other held back answer",
    "profile": "High Extraversion",
    "ground_truth_persona": "a close friend",
    "Demographic Information": "She is a nurse.",
    "User-Generated Content": [{"prompt": "A post", "comment": "I adore long walks.", "Preference Direction": [0.5]}],
    "Pair-wise Comparative Feedback": [PAIR],
}
SPOKEN = {"0": {"user": "I only eat vegan.", "assistant": "Noted."}, "1": {"user": "Thanks!", "assistant": "Sure."}}


def test_an_alignx_case_gives_its_history_and_not_its_test(read):
    records = read([CASE])
    assert [type(record) for record in records] == [Description, Turn, Comparison]
    said = " ".join(text for record in records for text in record.texts)
    assert "held back" not in said
    assert "Extraversion" not in said
    assert records[2].id == Comparison(**PAIR).id


def test_alignx_cases_are_people_and_one_can_be_chosen(write):
    other = {"Pair-wise Comparative Feedback": [{**PAIR, "chosen": "Hey."}]}
    source = open_source(write([CASE, other]))
    assert (source.format, source.people) == ("alignx", 2)
    assert [record.chosen for record in source.records(case=1)] == ["Hey."]
    with pytest.raises(InvalidRecordError, match=r"no case 2: the file holds 2"):
        list(source.records(case=2))


def test_bare_comparisons_are_one_persons(write):
    source = open_source(write([PAIR, {**PAIR, "chosen": [{"role": "assistant", "content": "Hey."}]}]))
    assert (source.format, source.people) == ("alignx", 1)
    assert [record.chosen for record in source.records()] == ["Hi!", "Hey."]


def test_a_stated_preference_is_a_turn_and_the_question_is_not(read):
    case = {"preference": "I only eat vegan.", "question": "Where to eat?", "explanation": "…"}
    assert [(record.role, record.text) for record in read([case])] == [("user", "I only eat vegan.")]


def test_a_conversation_is_read_in_the_order_of_its_numbers(read):
    shuffled = {key: SPOKEN[key] for key in ("1", "0")}
    case = {"preference": "P", "question": "Q", "persona": "A nurse", "conversation": shuffled}
    assert [record.text for record in read([case])] == ["I only eat vegan.", "Noted.", "Thanks!", "Sure."]


def test_a_choice_is_read_as_the_user_made_it(read):
    talk = {"query": "A film?", "assistant_options": "1. A 2. B", "user_selection": "B, it is quiet."}
    case = {"preference": "P", "question": "Q", "conversation": talk}
    assert [(record.role, record.text) for record in read(case)] == [
        ("user", "A film?"),
        ("assistant", "1. A 2. B"),
        ("user", "B, it is quiet."),
    ]


def test_own_records_and_exports_come_back_as_they_were(read):
    records = [Turn(role="user", text="Hello", thread_id="t"), Comparison(**PAIR), Description(text="A nurse.")]
    dumped = [record.model_dump(mode="json", exclude_none=True) for record in records]
    lock = Correction(dimension="humor", value=0.5).model_dump(mode="json", exclude_none=True)
    assert read("\n".join(map(json.dumps, dumped)), "r.jsonl") == records
    assert read({"format": "persona-align/1", "user_id": "ada", "records": [*dumped, lock]}) == records


@pytest.mark.data
def test_every_benchmark_file_is_recognised_and_sound(benchmark_data):
    for path in sorted(benchmark_data.glob("psoups/*.json")):
        source = open_source(path)
        assert source.format == "alignx"
        assert sum(1 for _ in source.records()) == 4 * source.people
    for path in sorted(benchmark_data.glob("prefeval/*/*.json")):
        source = open_source(path)
        assert source.format == "prefeval"
        assert any(record.role == "user" for record in source.records())
    assert open_source(benchmark_data / "prefeval" / "inter_turns.json").format == "openai"
