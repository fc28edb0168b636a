"""Expressiveness: a sentence about its author against a request, on sentences that no training frame has."""

import numpy as np
import pytest

from persona_align.encoder import open_encoder
from persona_align.inference.expressiveness import (
    KEPT_SENTENCES,
    Expressiveness,
    open_expressiveness,
    turn_numbers,
)

ABOUT_ME = (
    "I break out in hives whenever I eat strawberries.",
    "Gore on screen makes me queasy, so I never watch slasher movies.",
    "I learn far better from a person than from a book.",
    "I'd much sooner take the train than sit in a plane.",
    "Cilantro tastes like soap to me and I leave it out of everything.",
    "I am vegan and want nothing made from animals.",
)
NOT_ABOUT_ME = (
    "Could you recommend a restaurant near the harbour?",
    "Write a function that reverses a linked list.",
    "The treaty of Westphalia ended the Thirty Years' War.",
    "Thanks, those are wonderful suggestions!",
    "What is the boiling point of ethanol?",
    "give me three synonyms for quick",
)


@pytest.fixture(scope="module")
def encoder():
    return open_encoder()


@pytest.fixture(scope="module")
def head(encoder):
    return open_expressiveness(encoder)


def test_what_people_say_of_themselves_stands_out(encoder, head):
    told = [float(head.sentences(each)[0]) for each in encoder.encode(ABOUT_ME)]
    asked = [float(head.sentences(each)[0]) for each in encoder.encode(NOT_ABOUT_ME)]
    assert min(told) > 0.5
    assert max(asked) < 0.5


def test_the_sentence_in_passing_is_found_in_its_turn(encoder, head):
    turn = "Hello! I'm planning a picnic. I can't stand mayonnaise. How many people fit on one blanket?"
    scores = head.sentences(encoder.encode([turn])[0])
    assert int(np.argmax(scores)) == 2


def test_of_a_long_text_the_most_expressive_sentences_are_kept(encoder, head):
    filler = " ".join(f"Paragraph {i} describes the layout of the station." for i in range(20))
    (encoding,) = encoder.encode([f"{filler} I hate crowded trains. {filler}"])
    numbers = turn_numbers(encoding, head)
    assert numbers["expressiveness"].shape == (KEPT_SENTENCES,)
    assert numbers["sentence_content"].shape == (KEPT_SENTENCES, encoder.dimension)
    hated = next(i for i, text in enumerate(encoding.sentences) if "hate" in text)
    best = numbers["sentence_content"][int(np.argmax(numbers["expressiveness"]))]
    likeness = encoding.sentence_content @ best.astype(np.float32)
    assert int(np.argmax(likeness)) == hated
    assert np.linalg.norm(best.astype(np.float32)) == pytest.approx(1.0, abs=1e-2)


def test_the_shipped_head_is_for_the_bundled_encoder_alone(encoder, head):
    class Other:
        fingerprint = "other"

    assert head.fingerprint == encoder.fingerprint
    assert len(head.weights) > 0
    assert len(open_expressiveness(Other()).weights) == 0


def test_without_a_trained_head_patterns_do(encoder):
    plain = Expressiveness(fingerprint="other", weights=np.zeros(0, np.float32), bias=0.0)
    loves, asks = (float(plain.sentences(each)[0]) for each in encoder.encode(["I love maps.", "Do I need a map?"]))
    assert loves > 0.5 > asks


def test_a_head_survives_being_saved(head, tmp_path):
    head.save(tmp_path / "head.safetensors")
    loaded = Expressiveness.load(tmp_path / "head.safetensors")
    assert loaded.fingerprint == head.fingerprint
    assert loaded.bias == pytest.approx(head.bias)
    assert (loaded.weights == head.weights).all()
