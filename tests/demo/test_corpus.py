import random
import re

import numpy as np
import pytest

from persona_align import demo
from persona_align.conditioning import pba_line
from persona_align.demo.corpus.chats import chat, preference_lines, record_lines
from persona_align.demo.corpus.encoding import Encoder
from persona_align.demo.corpus.replies import reply
from persona_align.demo.corpus.texts import DIMENSIONS, HELD_OUT, POLES, anything, marks, said, topics, varied
from persona_align.preferences import ALIGNX, PreferenceVector

STOP = set("the a an and or to in on of for is it my your you i me what which how do does can with at be".split())  # noqa: SIM905


def words(text):
    return {word.rstrip("s") for word in re.findall(r"[a-z]+", text.lower())} - STOP


def test_there_are_sixty_topics_with_eight_questions_each():
    assert len(topics()) >= 60
    assert len({topic.key for topic in topics()}) == len(topics())
    for topic in topics():
        assert len(topic.ask) == 8
        assert len(topic.held_out) == HELD_OUT
        assert len(topic.steps) == 3


@pytest.mark.parametrize("topic", topics(), ids=lambda topic: topic.key)
def test_replies_are_about_what_was_asked(topic):
    known = words(" ".join([*topic.ask, topic.thing, topic.doing]))
    for choice in (*topic.usual, *topic.classic, *topic.novel):
        assert words(choice) & known or words(topic.thing) & known, choice
    rng = random.Random(topic.key)
    related = known | words(" ".join((*topic.usual, *topic.classic, *topic.novel)))
    for _ in range(20):
        wishes = {key: rng.choice(POLES) for key in rng.sample(DIMENSIONS, rng.randint(0, 8))}
        assert words(reply(topic, wishes, rng)) & related


def test_replies_are_whole_sentences_without_leftovers():
    rng = random.Random(1)
    for _ in range(3000):
        wishes = {key: rng.choice(POLES) for key in rng.sample(DIMENSIONS, rng.randint(0, 8))}
        text = reply(rng.choice((*topics(), *anything())), wishes, rng)
        assert not re.search(r"[\[\]{}|]|\.\.|  | \.|\bmy my\b", text), text
        assert text[0].isupper() or text[0].isdigit(), text
        assert text.count('"') == 0


@pytest.mark.parametrize("key", DIMENSIONS)
def test_the_poles_of_a_dimension_never_read_the_same(key):
    rng = random.Random(key)
    for topic in rng.sample(topics(), 20):
        high = {reply(topic, {key: "high"}, rng) for _ in range(30)}
        low = {reply(topic, {key: "low"}, rng) for _ in range(30)}
        assert not high & low


def test_brief_replies_are_brief_and_thorough_ones_are_not():
    rng = random.Random(2)
    for topic in topics():
        brief = np.mean([len(reply(topic, {"conciseness": "high"}, rng)) for _ in range(10)])
        thorough = np.mean([len(reply(topic, {"conciseness": "low"}, rng)) for _ in range(10)])
        assert brief * 2.5 < thorough


def test_held_out_questions_and_statements_never_appear_in_training():
    rng = random.Random(3)
    questions = {question.lower() for topic in topics() for question in topic.held_out}
    statements = {s for key in DIMENSIONS for s in (*_held_out(key, "high"), *_held_out(key, "low"))}
    for _ in range(4000):
        for message in chat(rng).messages:
            if message["role"] != "user":
                continue
            assert message["content"].split("\n")[-1].lower() not in questions
            assert not any(f'"{statement}"' in message["content"] for statement in statements)


def _held_out(key, pole):
    dimension = ALIGNX[key]
    return (dimension.high_statements if pole == "high" else dimension.low_statements)[-HELD_OUT:]


def test_no_message_that_a_person_says_shows_both_poles():
    for key in DIMENSIONS:
        rng = random.Random(key)
        high, low = ({varied(text, rng) for text in said(key, pole) for _ in range(20)} for pole in POLES)
        assert not high & low


def test_preference_lines_are_those_of_the_pba_prompt():
    rng = random.Random(4)
    known = {pba_line(PreferenceVector.of({key: value})[key]) for key in DIMENSIONS for value in (0.9, 0.4, -0.4, -0.9)}
    for _ in range(200):
        wishes = {key: rng.choice(POLES) for key in rng.sample(DIMENSIONS, 3)}
        assert sum(line in known for line in preference_lines(wishes, rng)) == 3


def test_record_lines_quote_messages_compare_and_describe():
    rng = random.Random(5)
    lines = [line for _ in range(300) for line in record_lines({"humor": "high"}, rng)]
    assert {line.split(" ")[0] for line in lines if line[0] != '"'} == {"Asked", "About"}
    assert any(line.startswith('"') for line in lines)


def test_the_encoder_writes_what_the_chat_template_writes():
    _, tokenizer = demo.load()
    encoder, rng = Encoder(tokenizer), random.Random(6)
    for _ in range(100):
        one = chat(rng)
        lesson = encoder.chat(one.messages, one.learn)
        rendered = tokenizer.apply_chat_template(list(one.messages), tokenize=True, return_dict=False)
        assert lesson.ids == rendered
        learnt = tokenizer.decode([lesson.ids[place + 1] for place in lesson.learn])
        expected = "".join(f"{m['content']}<|end|>" for i, m in enumerate(one.messages) if i in one.learn)
        assert learnt == expected


def test_the_same_seed_gives_the_same_chats():
    assert [chat(random.Random(7)) for _ in range(3)] == [chat(random.Random(7)) for _ in range(3)]


def test_marks_are_defined_for_every_pole_that_shows():
    silent = {(key, pole) for key in DIMENSIONS for pole in POLES if not marks(key, pole, brief=False)}
    expected = {(key, "low") for key in ("humor", "music", "fitness", "gaming", "gourmet")}
    assert silent == expected | {("conciseness", "high"), ("conciseness", "low"), ("order", "high")}
