"""One encoder and one scorer for all tests of inference."""

import pytest

from persona_align.encoder import open_encoder
from persona_align.inference import EvidenceScorer
from persona_align.preferences import ALIGNX
from persona_align.records import Description, Turn


@pytest.fixture(scope="session")
def encoder():
    return open_encoder()


@pytest.fixture(scope="session")
def scorer(encoder):
    return EvidenceScorer(encoder, ALIGNX)


@pytest.fixture(scope="session")
def read(scorer):
    """What a text says, as {key: weighted value}."""

    def read(text, kind="turn", **fields):
        record = Description(text=text) if kind == "description" else Turn(role="user", text=text, **fields)
        rows = scorer.score(record, scorer.encoder.encode(record.texts))["evidence"]
        found = {}
        for dimension, value, weight in rows[:, :3]:
            key = scorer.space.keys[int(dimension)]
            found[key] = found.get(key, 0.0) + float(value * weight)
        return found

    return read
