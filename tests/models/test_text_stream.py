"""Text as it grows equals the text as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_align.models.text_stream import TextStream, held_back
from tests.models.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@given(st.text(max_size=200))
def test_pieces_join_to_the_whole(text):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    stream = TextStream(TOKENIZER, skip_special_tokens=False)
    assert "".join([*(stream.push(token) for token in ids), stream.flush()]) == text


@given(st.lists(st.integers(6, 399), max_size=80))
def test_bytes_that_are_no_text_are_decoded_as_one(ids):
    stream = TextStream(TOKENIZER)
    assert "".join([*(stream.push(token) for token in ids), stream.flush()]) == TOKENIZER.decode(ids)


@given(st.text("abc ", max_size=60), st.lists(st.text("abc ", min_size=1, max_size=4), max_size=3))
def test_stop_texts_end_it_where_they_begin(text, stop):
    stream = TextStream(TOKENIZER, stop)
    pieces = []
    for token in TOKENIZER(text)["input_ids"]:
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    pieces.append(stream.flush())
    places = [text.find(s) for s in stop if s in text]
    # A longer stop text may begin earlier and be complete later: the first to be complete ends the reply.
    assert stream.stopped == bool(places)
    assert text.startswith("".join(pieces))
    assert not any(s in "".join(pieces) for s in stop)


def test_a_character_of_several_tokens_appears_once_whole():
    stream = TextStream(TOKENIZER)
    shown = [stream.push(token) for token in TOKENIZER("🦀")["input_ids"]]
    assert shown[:-1] == [""] * (len(shown) - 1)
    assert shown[-1] == "🦀"


@pytest.mark.parametrize(("text", "held"), [("<tool_call", 10), ("a<", 1), ("a", 0), ("<tool_call>", 0), ("", 0)])
def test_held_back(text, held):
    assert held_back(text, ["<tool_call>"]) == held
