"""demo: the whole flow, on the bundled model."""

import json

import pytest

from persona_align.commands.demo import MODES, _Passes
from tests.steering.tiny_chat import tiny_chat


@pytest.mark.slow
def test_two_people_five_replies_and_no_call_to_learn(run):
    shown = json.loads(run("demo", "--json").stdout)
    people = {name: value for name, value in shown.items() if isinstance(value, dict)}
    assert set(people) == {"ada", "ben"}
    assert shown["llm_calls"] == 0
    assert shown["reply_passes"] > 0
    assert shown["question"]
    ada, ben = people["ada"], people["ben"]
    assert ada["base"] == ben["base"]
    for label in MODES:
        assert ada[label].strip()
        assert ben[label].strip()
    for label in ("ica", "pba", "pas"):
        assert ada[label] != ben[label], label
    shared = set(ada["vector"]) & set(ben["vector"])
    assert any(ada["vector"][key]["value"] * ben["vector"][key]["value"] < 0 for key in shared)
    assert all(reading["because"] for reading in ada["vector"].values())


@pytest.mark.slow
def test_the_screen_shows_bars_replies_and_the_count(run):
    shown = run("demo", "--question", "Any ideas for my weekend?").stdout
    assert "LLM calls that learning took: 0" in shown
    assert "Any ideas for my weekend?" in shown
    for word in (*MODES, "ada", "ben", "│"):
        assert word in shown


def test_every_pass_of_the_model_is_counted_and_no_trace_is_left():
    model, tokenizer = tiny_chat()
    ids = tokenizer("Hello", return_tensors="pt")
    with _Passes(model) as passes:
        assert passes.count == 0
        model(**ids)
        model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert passes.count == 4
    model(**ids)
    assert passes.count == 4
