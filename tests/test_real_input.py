"""Public benchmark cases through `ingest`, then through the runnable in every mode."""

import json
from itertools import islice

import pytest
from typer.testing import CliRunner

from persona_align import ChatTransformers, PersonaAligner, demo
from persona_align.cli import app

pytestmark = pytest.mark.data
MODES = ["off", "ica", "pba", "pas", "rerank", "auto"]


@pytest.fixture(scope="module")
def chat():
    model, tokenizer = demo.load()
    return ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=24)


def ingest(tmp_path, user, data, name="case.json"):
    file = tmp_path / name
    file.write_text(json.dumps(data), encoding="utf-8")
    store = tmp_path / "store"
    result = CliRunner().invoke(app, ["ingest", str(file), "--user", user, "--store", str(store)])
    assert result.exit_code == 0, result.output
    return store


def answers_in_every_mode(aligner, chat, user, question):
    for mode in MODES:
        aligned = aligner.wrap(chat, mode, record=False, seed=0, candidates=2)
        assert aligned.invoke(question, {"configurable": {"user_id": user}}).text.strip(), mode


def test_psoups_personas_order_the_same_candidates_differently(benchmark_data, tmp_path, encoder, chat):
    cases = json.loads((benchmark_data / "psoups" / "student_phd_half.json").read_text(encoding="utf-8"))
    by_persona = {}
    for case in cases:
        by_persona.setdefault(case["ground_truth_persona"], []).append(case)
    assert len(by_persona) == 2
    student, phd = by_persona.values()
    pairs = list(islice(zip(student, phd, strict=False), 8))
    for number, (one, other) in enumerate(pairs):
        store = ingest(tmp_path, f"student{number}", [one], f"s{number}.json")
        ingest(tmp_path, f"phd{number}", [other], f"p{number}.json")
    with PersonaAligner.open(store, encoder=encoder) as aligner:
        different = 0
        for number, (one, _) in enumerate(pairs):
            candidates = [one["chosen"], one["rejected"]]
            orders = [
                [ranked.text for ranked in aligner.rank(f"{who}{number}", one["prompt"], candidates)]
                for who in ("student", "phd")
            ]
            different += orders[0] != orders[1]
        assert different >= 6
        answers_in_every_mode(aligner, chat, "student0", pairs[0][0]["prompt"])


def test_prefeval_the_turn_that_reveals_a_preference_is_retrieved(benchmark_data, tmp_path, encoder, chat):
    cases = json.loads((benchmark_data / "prefeval" / "persona" / "travel_restaurant.json").read_text(encoding="utf-8"))
    distractors = json.loads((benchmark_data / "prefeval" / "inter_turns.json").read_text(encoding="utf-8"))
    found = 0
    for number, case in enumerate(cases[:5]):
        store = ingest(tmp_path, f"user{number}", [case], f"c{number}.json")
        for place, other in enumerate(distractors[:3]):
            ingest(tmp_path, f"user{number}", other["conversation"], f"d{number}-{place}.json")
    with PersonaAligner.open(store, encoder=encoder) as aligner:
        for number, case in enumerate(cases[:5]):
            said = [turn["user"] for turn in case["conversation"].values()]
            wanted = aligner.encode(case["preference"]).content
            gold = max(said, key=lambda text: float(aligner.encode(text).content @ wanted))
            top = aligner.retrieve(f"user{number}", case["question"], k=5)
            found += gold in {each.record.text for each in top}
        assert found >= 4
        answers_in_every_mode(aligner, chat, "user0", cases[0]["question"])
