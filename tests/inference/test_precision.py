"""What a plain sentence says, and what it does not: a preference nobody voiced is worse than one that was missed.

Each case names what must be read (key: sign) and what may be read beside it (sign, or 0 for either). Everything else
over the confidence floor is junk: it would reach prompts and offsets.
"""

import pytest

from persona_align.inference import EvidenceScorer, fold
from persona_align.preferences import ALIGNX
from persona_align.records import Turn

CASES = [
    ("Please keep your answers short.", {"conciseness": 1}, {"complexity": -1, "casual_interaction": 1}),
    (
        "I love detailed answers, please explain everything at length.",
        {"conciseness": -1},
        {"complexity": 1, "casual_interaction": -1, "helpfulness": 1},
    ),
    ("I love gourmet food, fine cooking is what I live for.", {"gourmet": 1}, {"health": 1, "culture": 1}),
    ("I love jokes, make me laugh.", {"humor": 1}, {"play": 1, "entertainment": 1}),
    ("I can't stand crowds and loud parties.", {"extraversion": -1}, {"seclusion": 1, "affiliation": -1, "play": -1}),
    ("I wouldn't say I'm tidy.", {"order": -1}, {"conscientiousness": -1}),
    ("I go camping every summer and I adore it.", {"camping": 1}, {"outdoors": 1, "travel": 1}),
    (
        "My brother loves horror films, I don't.",
        {"cinema": -1},
        {"entertainment": -1, "stories": -1, "imagination": -1},
    ),
    (
        "I'm a nervous wreck before every exam, I worry about everything.",
        {"neuroticism": 1},
        {"infavoidance": 1, "campus_life": 0, "education": 0, "emotions": 1},
    ),
    (
        "I put all my savings in risky stocks, high risk is fun.",
        {"investment_risk": 1},
        {"saving": -1, "finance": 1, "play": 1},
    ),
    ("Photography is boring to me.", {"photography": -1}, {"art": -1}),
    ("I always plan my week down to the hour.", {"order": 1}, {"conscientiousness": 1, "stationery": 1}),
    (
        "I don't care what other people think of me.",
        {"recognition": -1},
        {"inviolacy": -1, "autonomy": 1, "infavoidance": -1},
    ),
    (
        "When I'm upset I need someone to comfort me.",
        {"succorance": 1},
        {"neuroticism": 1, "affiliation": 1, "emotions": 1},
    ),
    (
        "I tell people straight to their face when something bothers me.",
        {"conflict_directness": 1},
        {"dominance": 1, "agreeableness": -1, "aggression": 1},
    ),
    ("I have a huge crush on jazz and classical concerts.", {"music": 1}, {"art": 1, "culture": 1}),
    ("I work out at the gym five times a week.", {"fitness": 1}, {"health": 1, "sports": 1, "conscientiousness": 1}),
    ("Video games are a waste of time if you ask me.", {"gaming": -1}, {"play": -1, "entertainment": -1}),
    ("Write a SQL query that joins two tables.", {}, {}),
    ("Can you recommend a hotel in Rome?", {}, {}),
    ("What's the capital of France?", {}, {}),
    ("Translate this sentence to German: the house is big.", {}, {}),
    ("My flight leaves at nine tomorrow.", {}, {}),
    ("Thanks, that helped a lot!", {}, {}),
]


@pytest.fixture(scope="module")
def read(encoder):
    scorer = EvidenceScorer(encoder, ALIGNX)

    def readings(text):
        turn = Turn(role="user", text=text)
        vector = fold([(turn, scorer.score(turn, encoder.encode([text])))], ALIGNX).vector
        return {reading.key: reading.value for reading in vector.confident()}

    return readings


def test_what_is_said_is_read(read):
    missed = [
        (text, key) for text, must, _ in CASES for key, sign in must.items() if read(text).get(key, 0.0) * sign <= 0
    ]
    assert len(missed) <= sum(len(must) for _, must, _ in CASES) * 0.12, missed


def test_little_else_is_read(read):
    junk = []
    for text, must, may in CASES:
        allowed = {**may, **must}
        junk += [
            (text, key, round(value, 2))
            for key, value in read(text).items()
            if key not in allowed or value * allowed[key] < 0
        ]
    assert len(junk) <= 0.35 * len(CASES), junk


@pytest.mark.parametrize("text", [text for text, must, may in CASES if not must and not may])
def test_work_and_small_talk_say_nothing_of_a_person(read, text):
    assert len(read(text)) <= 1
