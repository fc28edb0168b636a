"""Retrieval: exact against a loop, and each of its four reasons shown alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from persona_align.memory.entry import Entry
from persona_align.memory.history import History
from persona_align.memory.retrieval import EXPRESSIVE, RECENT, Retrieved, retrieve
from persona_align.records import Comparison, Correction, Description, Turn

D = 16
START = datetime(2026, 1, 1, tzinfo=UTC)


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=D)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def near(vector: np.ndarray, cosine: float, seed: int = 99) -> np.ndarray:
    """A unit vector at this cosine from another."""
    other = unit(seed) - (unit(seed) @ vector) * vector
    return (cosine * vector + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)).astype(np.float32)


def entry(record, embedding, numbers=None) -> Entry:
    return Entry(record=record, embedding=embedding, numbers=numbers or {})


def said(text: str, embedding: np.ndarray, numbers=None, role: str = "user") -> Entry:
    return entry(Turn(role=role, text=text), embedding, numbers)


def history(*entries: Entry) -> History:
    return History(entries=entries, embeddings=np.stack([each.embedding for each in entries]), revision=1)


def texts(found: list[Retrieved]) -> list[str]:
    return [each.record.texts[0] for each in found]


QUERY = unit(0)


def test_the_score_is_that_of_the_plain_formula():
    rng = np.random.default_rng(3)
    entries = []
    for i in range(40):
        n = int(rng.integers(1, 5))
        numbers = {
            "sentence_content": np.stack([unit(1000 * i + s) for s in range(n)]).astype(np.float16),
            "expressiveness": rng.random(n).astype(np.float16),
        }
        entries.append(said(f"turn {i}", unit(i + 1), numbers))
    expected = {}
    for i, each in enumerate(entries):
        sentences = each.numbers["sentence_content"].astype(np.float32)
        best = max(
            float(vector @ QUERY) + EXPRESSIVE * float(score) ** 0.5
            for vector, score in zip(sentences, each.numbers["expressiveness"], strict=True)
        )
        expected[f"turn {i}"] = best + RECENT * (1 - (39 - i) / 40)
    found = retrieve(history(*entries), QUERY, 40)
    assert texts(found) == sorted(expected, key=lambda text: -expected[text])
    assert [each.score for each in found] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-5)


def test_a_long_history_is_searched_the_same_way_twice():
    entries = [said(f"turn {i}", unit(i + 1)) for i in range(400)]
    whole = history(*entries)
    first, again = retrieve(whole, QUERY), retrieve(whole, QUERY)
    assert texts(first) == texts(again)
    assert texts(first)[0] == max(entries, key=lambda each: float(each.embedding @ QUERY)).record.text


def test_only_what_the_user_wrote_comes_back():
    same = [
        said("an answer", QUERY, role="assistant"),
        said("a rule", QUERY, role="system"),
        said("a result", QUERY, role="tool"),
        entry(Correction(dimension="humor", value=1.0), np.zeros(D, np.float32)),
    ]
    own = [
        said("a wish", unit(1)),
        entry(Description(text="a nurse"), unit(2)),
        entry(Comparison(prompt="Hi", chosen="Hello!", rejected="Yes?"), unit(3)),
    ]
    assert set(texts(retrieve(history(*same, *own), QUERY, 10))) == {"a wish", "a nurse", "Hi"}
    assert retrieve(history(*same), QUERY, 10) == []


def test_what_says_something_about_its_author_beats_what_is_merely_alike():
    asked = said("Where to eat in Rome?", near(QUERY, 0.8), {"expressiveness": np.float16(0.02)})
    stated = said("I don't eat meat.", near(QUERY, 0.45), {"expressiveness": np.float16(0.99)})
    assert texts(retrieve(history(stated, asked), QUERY, 2)) == ["I don't eat meat.", "Where to eat in Rome?"]


def test_one_sentence_in_a_long_turn_is_enough():
    passing = said(
        "Thanks! I don't eat meat, by the way. How do I sort a list?",
        near(QUERY, 0.05),
        {
            "sentence_content": np.stack([unit(5), near(QUERY, 0.6), unit(6)]),
            "expressiveness": np.array([0.1, 0.98, 0.05], np.float16),
        },
    )
    unrelated = said("I love rain.", near(QUERY, 0.1), {"expressiveness": np.float16(0.99)})
    assert texts(retrieve(history(passing, unrelated), QUERY, 1))[0].startswith("Thanks!")


def test_of_equals_the_newer_comes_first():
    entries = [
        entry(Turn(role="user", text=text, at=START + timedelta(days=day)), near(QUERY, 0.5, seed))
        for day, (text, seed) in enumerate([("old", 21), ("new", 22)])
    ]
    assert texts(retrieve(history(*entries), QUERY)) == ["new", "old"]


def test_a_repetition_makes_room_for_something_else():
    repeated = [said(f"No nuts, please ({i}).", near(QUERY, 0.8, 31)) for i in range(5)]
    other = said("I cook for six.", near(QUERY, 0.3, 32))
    found = texts(retrieve(history(*repeated, other), QUERY, 2))
    assert len(found) == 2
    assert "I cook for six." in found
    assert len(retrieve(history(*repeated, other), QUERY, 6)) == 6


def test_excluded_and_repeated_queries_do_not_crowd_out_evidence():
    query = said("What shall I cook?", QUERY)
    before = said(" What shall I cook? ", QUERY)
    stated = said("I hate garlic.", near(QUERY, 0.2))
    whole = history(before, stated, query)
    found = retrieve(whole, QUERY, 1, exclude=[query.record.id], query_text="What shall I cook?")
    assert texts(found) == ["I hate garlic."]
    everything = retrieve(whole, QUERY, 5, exclude=[query.record.id], query_text="What shall I cook?")
    assert texts(everything) == ["I hate garlic.", " What shall I cook? "]


def test_nothing_asked_or_nothing_known_is_an_empty_list():
    assert retrieve(history(said("Hello", QUERY)), QUERY, 0) == []
    nothing = History(entries=(), embeddings=np.zeros((0, D), np.float32), revision=0)
    assert retrieve(nothing, QUERY) == []


def test_odd_numbers_are_read_as_a_whole_record():
    odd = said("odd", near(QUERY, 0.7), {"sentence_content": np.zeros((2, 3)), "expressiveness": np.array([0.5, 0.2])})
    (found,) = retrieve(history(odd), QUERY)
    assert found.score == pytest.approx(0.7 + EXPRESSIVE * 0.5**0.5 + RECENT, abs=1e-3)
