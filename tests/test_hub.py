"""A model or encoder that is asked for by name while the hub is out of reach: one short question, then the remedy."""

import time

import pytest

from persona_align import ChatTransformers
from persona_align.encoder import open_encoder
from persona_align.errors import EncoderUnavailableError, UnsupportedModelError
from persona_align.hub import unreachable


@pytest.fixture
def slept(monkeypatch):
    """What the hub's client would have slept between its attempts."""
    naps = []
    monkeypatch.setattr(time, "sleep", naps.append)
    return naps


def test_a_folder_asks_nobody(tmp_path):
    assert not unreachable(tmp_path)


def test_a_name_without_a_network_is_known_at_once(slept):
    assert unreachable("nobody/nothing")
    assert not slept


def test_any_answer_counts_as_one(monkeypatch):
    class Answers:
        def head(self, url, timeout):
            assert url.startswith("https://")
            assert timeout <= 10

    monkeypatch.setattr("huggingface_hub.get_session", Answers)
    assert not unreachable("nobody/nothing")


def test_the_switch_for_offline_work_is_obeyed(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.get_session", None)  # must not be asked
    assert unreachable("nobody/nothing")


def test_a_model_out_of_reach_is_refused_without_retries(slept):
    with pytest.raises(UnsupportedModelError, match=r"the hub does not answer.*Go online once"):
        ChatTransformers.from_pretrained("nobody/nothing")
    assert not slept


def test_an_encoder_out_of_reach_is_refused_without_retries(slept):
    with pytest.raises(EncoderUnavailableError, match=r"the hub does not answer.*persona-align\[offline\]"):
        open_encoder("nobody/nothing")
    assert not slept


def test_a_mistyped_folder_is_told_as_one(tmp_path):
    with pytest.raises(UnsupportedModelError, match="There is no model at"):
        ChatTransformers.from_pretrained(str(tmp_path / "nothing"))
    with pytest.raises(UnsupportedModelError, match="could not be loaded"):
        ChatTransformers.from_pretrained(str(tmp_path))
