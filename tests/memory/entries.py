"""Entries with made-up embeddings, for the tests of memory."""

import numpy as np

from persona_align.memory.entry import Entry
from persona_align.records import Turn

DIMENSION = 16
MADE_WITH = {"encoder": "test-encoder", "dimension": DIMENSION, "space": "test-space"}


def vector(seed, dimension=DIMENSION):
    given = np.random.default_rng(abs(hash(seed)) % 2**32 if not isinstance(seed, int) else seed)
    embedding = given.standard_normal(dimension).astype(np.float32)
    return embedding / np.linalg.norm(embedding)


def entry(text, *, role="user", seed=0, version="1", **fields):
    numbers = {
        "evidence": np.random.default_rng(seed + 1).random(9).astype(np.float32),
        "expressiveness": np.float32(seed % 7 / 7),
        "counts": np.arange(6, dtype=np.int16).reshape(2, 3),
    }
    return Entry(record=Turn(role=role, text=text, **fields), embedding=vector(seed), numbers=numbers, version=version)


def same(one, other):
    return (
        one.record == other.record
        and one.embedding.tobytes() == other.embedding.tobytes()
        and one.version == other.version
        and {k: (a.dtype, a.shape, a.tobytes()) for k, a in one.numbers.items()}
        == {k: (a.dtype, a.shape, a.tobytes()) for k, a in other.numbers.items()}
    )


def texts(history):
    return [found.record.texts[0] for found in history.entries]
