"""Changes of mind, paraphrases, contradiction and locks, told in sentences as people write them."""

from datetime import UTC, datetime, timedelta

import pytest

from persona_align.encoder import open_encoder
from persona_align.inference import EvidenceScorer, fold
from persona_align.preferences import ALIGNX
from persona_align.records import Correction, Turn

START = datetime(2025, 3, 1, tzinfo=UTC)
CHANGES = {
    "music": (
        1,
        ["I love music.", "I listen to music all day long.", "Music is my greatest passion."],
        ["I don't like music any more.", "Music bores me.", "I hate music."],
    ),
    "extraversion": (
        -1,
        ["I'm very shy.", "Parties exhaust me.", "I'm a quiet person who keeps to himself."],
        ["I've become really outgoing.", "I love parties.", "I enjoy meeting lots of new people."],
    ),
    "pets": (
        1,
        ["I adore my cat.", "I love dogs.", "I love having pets at home."],
        ["I don't want any pets any more.", "I dislike animals in the house.", "I hate dogs and cats."],
    ),
}


@pytest.fixture(scope="module")
def read():
    scorer = EvidenceScorer(open_encoder(), ALIGNX)

    def posterior(*said):
        turns = [
            Turn(role="user", text=text, at=START + timedelta(days=day)) if isinstance(text, str) else text
            for day, text in enumerate(said)
        ]
        items = [
            (turn, scorer.score(turn, scorer.encoder.encode(turn.texts)) if isinstance(turn, Turn) else {})
            for turn in turns
        ]
        return fold(items, ALIGNX)

    return posterior


@pytest.mark.parametrize("key", CHANGES)
def test_three_new_statements_win_and_the_old_value_stays_with_its_dates(read, key):
    pole, old, new = CHANGES[key]
    assert read(*old).vector[key].value * pole > 0.2
    posterior = read(*old, *new)
    assert posterior.vector[key].value * pole < -0.2
    assert posterior.vector[key].confidence > 0.3
    earlier = posterior.history(key)
    assert earlier[0].value * pole > 0.2
    assert (earlier[0].since, earlier[0].current, earlier[-1].current) == (START, False, True)
    assert earlier[0].until < START + timedelta(days=len(old) + len(new))


def test_the_same_request_in_other_words_is_no_further_evidence(read):
    said = ["Please keep your answers short.", "Keep your answers short, please.", "Please keep the answers short."]
    once, often = read(said[0]).vector["conciseness"], read(*said, *said).vector["conciseness"]
    assert once.confidence > ALIGNX.floor
    assert often.support < 2.0 * once.support


@pytest.mark.parametrize("key", ["music", "pets"])
def test_saying_both_by_turns_lowers_confidence(read, key):
    _pole, old, new = CHANGES[key]
    agreed = read(*old).vector[key]
    mixed = read(old[0], new[1], old[1], new[2], old[2]).vector[key]
    assert mixed.confidence < agreed.confidence
    assert abs(mixed.value) < abs(agreed.value)


def test_a_lock_outweighs_whatever_is_said_later(read):
    _pole, old, _new = CHANGES["pets"]
    lock = Correction(dimension="pets", value=-0.4, at=START)
    posterior = read(lock, *old, *old)
    assert (posterior.vector["pets"].value, posterior.vector["pets"].confidence) == (-0.4, 1.0)
    assert posterior.contributions("pets") == [(lock.id, -0.4)]
