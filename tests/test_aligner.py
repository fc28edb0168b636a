"""The facade over real parts: encoder, Chroma, inference."""

import datetime as dt
import json
import threading

import pytest

from persona_align import ALIGNX, Comparison, Description, PersonaAligner, PreferenceSpace, Turn
from persona_align.errors import (
    IncompatibleStoreError,
    InvalidRecordError,
    MissingUserError,
    PersonaAlignError,
    StoreUnavailableError,
    UnknownDimensionError,
)
from persona_align.testing import HashEncoder

SHORT = Turn(role="user", text="Please keep your answers short and to the point, I hate long explanations.")
LONG = Turn(role="user", text="I love detailed answers, please explain everything at length and leave nothing out.")
WORK = Turn(role="user", text="Write a SQL query that joins two tables on the customer number.")


@pytest.fixture
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        yield opened


def test_what_a_user_says_moves_their_vector_and_nobody_elses(aligner):
    aligner.record("ada", SHORT)
    aligner.record("ben", LONG)
    ada, ben = aligner.preferences("ada")["conciseness"], aligner.preferences("ben")["conciseness"]
    assert ada.value > 0 > ben.value
    assert min(ada.confidence, ben.confidence) >= ALIGNX.floor
    assert aligner.preferences("eve").top() == []


def test_only_user_authored_records_move_a_vector(aligner):
    said = [Turn(role=role, text=SHORT.text) for role in ("assistant", "system", "tool")]
    aligner.record("ada", *said, WORK)
    assert aligner.preferences("ada")["conciseness"].confidence == 0
    assert all(found.record.user_authored for found in aligner.retrieve("ada", "short answers", k=10))


def test_the_same_record_twice_is_one_record(aligner):
    first = aligner.record("ada", SHORT)
    once = aligner.preferences("ada")
    assert aligner.record("ada", SHORT, SHORT) == first * 2
    assert aligner.preferences("ada") == once
    assert len(aligner.export("ada")["records"]) == 1


def test_explain_names_the_records_that_moved_a_dimension(aligner):
    aligner.record("ada", WORK, SHORT)
    evidence = aligner.explain("ada", "conciseness")
    assert evidence[0].record.text == SHORT.text
    assert evidence[0].weight > 0
    assert aligner.explain("ada", "weddings") == []
    assert aligner.explain("nobody", "conciseness") == []
    with pytest.raises(UnknownDimensionError, match="conciseness"):
        aligner.explain("ada", "concisenes")


def test_a_correction_locks_and_release_gives_back(aligner):
    aligner.record("ada", SHORT)
    inferred = aligner.preferences("ada")["conciseness"]
    aligner.correct("ada", "conciseness", -0.5)
    aligner.record("ada", Turn(role="user", text="Again: be brief, please!"))
    locked = aligner.preferences("ada")["conciseness"]
    assert (locked.value, locked.confidence) == (-0.5, 1.0)
    aligner.release("ada", "conciseness")
    assert aligner.preferences("ada")["conciseness"].value > 0
    assert inferred.value > 0
    for wrong in (2.0, float("nan")):
        with pytest.raises(InvalidRecordError):
            aligner.correct("ada", "humor", wrong)


def test_rank_follows_the_users_comparisons_and_abstains_without(aligner):
    brief, long = "Soup.", "You could cook a wonderful soup, beginning with onions, then carrots, and so forth. " * 4
    assert [tuple(r) for r in aligner.rank("ada", "Dinner?", [long, brief])] == [(long, 0.0), (brief, 0.0)]
    pairs = [("Why?", "Because"), ("Film?", "Alien"), ("Gift?", "A book"), ("Trip?", "Rome")]
    tail = ", which I would recommend, all things considered, because many people have come to appreciate it greatly."
    padded = [(prompt, f"{answer}.", answer + tail) for prompt, answer in pairs]
    aligner.record("ada", *(Comparison(prompt=p, chosen=a, rejected=b) for p, a, b in padded))
    aligner.record("ben", *(Comparison(prompt=p, chosen=b, rejected=a) for p, a, b in padded))
    assert aligner.rank("ada", "Dinner?", [long, brief])[0].text == brief
    assert aligner.rank("ben", "Dinner?", [brief, long])[0].text == long


def test_restoring_an_export_gives_the_same_vector_exactly(aligner, encoder):
    aligner.record("ada", SHORT, WORK, Comparison(prompt="Why?", chosen="Because.", rejected="Many reasons exist."))
    aligner.record("ada", Description(text="A gardener who likes plain words."))
    aligner.correct("ada", "humor", 0.8)
    data = json.loads(json.dumps(aligner.export("ada")))
    with PersonaAligner.open(encoder=encoder) as other:
        other.restore(data)
        assert other.preferences("ada") == aligner.preferences("ada")
        assert other.export("ada") == data
        other.restore(data)
        assert other.export("ada") == data
    assert aligner.export("nobody")["records"] == []
    for wrong in ({}, {"format": "other"}, [], {**data, "records": [{"kind": "poem"}]}):
        with pytest.raises(InvalidRecordError):
            aligner.restore(wrong)


def test_forget_leaves_nothing_and_nobody_else_is_touched(tmp_path, encoder):
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder) as aligner:
        aligner.record("ada-the-forgotten", Turn(role="user", text="I adore zanzibarquokka stories."), SHORT)
        aligner.record("ben", LONG)
        before = aligner.preferences("ben")
        aligner.forget("ada-the-forgotten")
        assert aligner.preferences("ada-the-forgotten").top() == []
        assert aligner.export("ada-the-forgotten")["records"] == []
        assert aligner.preferences("ben") == before
    for file in (tmp_path / "memory").rglob("*"):
        if file.is_file():
            held = file.read_bytes()
            assert b"zanzibarquokka" not in held
            assert b"ada-the-forgotten" not in held


def test_forgetting_some_records_recomputes_the_vector(aligner):
    old = Turn(role="user", text=SHORT.text, at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    (old_id,) = aligner.record("ada", old)
    aligner.record("ada", WORK)
    assert aligner.preferences("ada")["conciseness"].confidence > 0
    aligner.forget("ada", record_ids=[old_id])
    assert aligner.preferences("ada")["conciseness"].confidence == 0
    assert len(aligner.export("ada")["records"]) == 1


def test_memory_survives_closing(tmp_path, encoder):
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder) as aligner:
        aligner.record("ada", SHORT)
        before = aligner.preferences("ada")
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder) as aligner:
        assert aligner.preferences("ada") == before


def test_another_encoder_is_refused_and_another_space_is_recomputed(tmp_path, encoder):
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder) as aligner:
        aligner.record("ada", SHORT)
    with pytest.raises(IncompatibleStoreError, match="reembed"):
        PersonaAligner.open(tmp_path / "memory", encoder=HashEncoder())
    small = ALIGNX.subset(["conciseness", "humor"])
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder, space=small) as aligner:
        assert len(aligner.preferences("ada")) == 2
        assert aligner.preferences("ada")["conciseness"].value > 0


def test_a_path_that_is_a_file_is_refused(tmp_path, encoder):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises((IncompatibleStoreError, StoreUnavailableError), match="file"):
        PersonaAligner.open(tmp_path / "file", encoder=encoder)


def test_your_own_dimension_works_at_once(encoder):
    space = PreferenceSpace.model_validate(
        {
            "dimensions": [
                {
                    "key": "units",
                    "high": "Prefers metric units",
                    "low": "Prefers imperial units",
                    "high_statements": ["Give it to me in kilometres and grams.", "I use the metric system."],
                    "low_statements": ["Give it to me in miles and ounces.", "I use the imperial system."],
                }
            ]
        }
    )
    with PersonaAligner.open(encoder=encoder, space=space) as aligner:
        aligner.record("ada", Turn(role="user", text="I prefer metric units, kilometres and litres, please."))
        aligner.record("ben", Turn(role="user", text="I want it in miles and ounces, I like imperial units."))
        assert aligner.preferences("ada")["units"].value > 0 > aligner.preferences("ben")["units"].value


def test_sensitive_dimensions_are_off_unless_enabled(encoder):
    text = "As a retired grandfather I have been drawing my pension for ten years now."
    with PersonaAligner.open(encoder=encoder) as aligner:
        aligner.record("ada", Turn(role="user", text=text))
        assert aligner.preferences("ada")["age_group"].confidence == 0
        assert aligner.preferences("ada")["gender"].confidence == 0
    with PersonaAligner.open(encoder=encoder, enable=["age_group"]) as aligner:
        aligner.record("ada", Turn(role="user", text=text))
        assert aligner.preferences("ada")["age_group"].value < 0


def test_switched_off_dimensions_stay_silent(encoder):
    with PersonaAligner.open(encoder=encoder, disable=["conciseness"]) as aligner:
        aligner.record("ada", SHORT)
        assert aligner.preferences("ada")["conciseness"].confidence == 0
    with pytest.raises(UnknownDimensionError):
        PersonaAligner.open(encoder=encoder, disable=["interest"])


def test_groups_and_similar_users(aligner, encoder):
    with pytest.raises(PersonaAlignError, match="similar=True"):
        aligner.similar("ada")
    with PersonaAligner.open(encoder=encoder, similar=True) as opened:
        opened.record("ada", SHORT)
        opened.record("ann", Turn(role="user", text="Please keep it brief."))
        opened.record("ben", LONG)
        assert [user for user, _ in opened.similar("ada")] == ["ann", "ben"]
        agreed, torn = opened.group(["ada", "ann"])["conciseness"], opened.group(["ada", "ben"])["conciseness"]
        assert agreed.value > 0
        assert torn.confidence < agreed.confidence
        assert opened.group([]).top() == []


@pytest.mark.parametrize("user", [None, "", "  ", 7])
def test_every_call_needs_a_user(aligner, user):
    calls = [
        lambda: aligner.record(user, SHORT),
        lambda: aligner.preferences(user),
        lambda: aligner.retrieve(user, "x"),
        lambda: aligner.rank(user, "p", ["a", "b"]),
        lambda: aligner.explain(user, "humor"),
        lambda: aligner.correct(user, "humor", 0.1),
        lambda: aligner.release(user, "humor"),
        lambda: aligner.similar(user),
        lambda: aligner.group([user]),
        lambda: aligner.forget(user),
        lambda: aligner.export(user),
    ]
    for call in calls:
        with pytest.raises(MissingUserError):
            call()


def test_what_is_no_record_is_refused_whole(aligner):
    with pytest.raises(InvalidRecordError):
        aligner.record("ada", SHORT, "a string")
    assert aligner.export("ada")["records"] == []
    assert aligner.record("ada") == []


def test_threads_record_and_read_side_by_side(aligner):
    def work(number):
        for _ in range(3):
            aligner.record(f"user{number}", SHORT if number % 2 else LONG)
            aligner.preferences(f"user{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    signs = [aligner.preferences(f"user{number}")["conciseness"].value > 0 for number in range(8)]
    assert signs == [number % 2 == 1 for number in range(8)]


def test_the_vector_stays_when_the_cap_drops_records_and_goes_with_them_into_exports(tmp_path, encoder):
    said = [
        Turn(role="user", text=f"{text.text} ({i})", at=dt.datetime(2025, 1, 1 + i, tzinfo=dt.UTC))
        for i, text in enumerate([SHORT, WORK] * 6)
    ]
    with PersonaAligner.open(tmp_path / "memory", encoder=encoder, max_records=3) as aligner:
        aligner.record("ada", *said)
        aligner.correct("ada", "humor", 0.8)
        before = aligner.preferences("ada")
        assert aligner.sweep() == 10
        after = aligner.preferences("ada")
        assert after["conciseness"].value == pytest.approx(before["conciseness"].value, abs=0.05)
        assert after["conciseness"].confidence == pytest.approx(before["conciseness"].confidence, abs=0.05)
        assert after["humor"] == before["humor"]
        data = json.loads(json.dumps(aligner.export("ada")))
        (summary,) = [record for record in data["records"] if record["kind"] == "summary"]
        assert summary["records"] == 10
        with PersonaAligner.open(encoder=encoder) as other:
            other.restore(data)
            assert other.preferences("ada") == after
            assert other.export("ada") == data
        assert aligner.forget("ada").erased == len(data["records"])
        assert aligner.preferences("ada").top() == []
