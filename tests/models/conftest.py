"""One tiny model for the tests of this folder; no test may change it."""

import pytest

from persona_align.models import ChatTransformers, batching
from persona_align.steering import SteeredModel
from tests.models.tiny import tiny_model, tiny_tokenizer
from tests.steering.helpers import random_offsets


@pytest.fixture(autouse=True)
def no_idling(monkeypatch):
    """Workers end with their work, so that tests can wait for them."""
    monkeypatch.setattr(batching, "_IDLE_SECONDS", 0.0)


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def hf_model():
    return tiny_model()


@pytest.fixture
def chat(hf_model, tokenizer):
    return ChatTransformers(model=hf_model, tokenizer=tokenizer, max_tokens=12)


@pytest.fixture(scope="session")
def users(hf_model):
    """Offsets of four users, each of which changes what the model says."""
    return [random_offsets(SteeredModel.of(hf_model), seed) for seed in range(4)]
