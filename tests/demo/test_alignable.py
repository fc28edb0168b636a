import re

import pytest

from persona_align import demo
from persona_align.conditioning import ica_line, pba_line
from persona_align.conditioning.layouts import earlier_messages_block, preferences_block, with_block
from persona_align.demo.corpus.sheets import persona
from persona_align.demo.corpus.texts import topics
from persona_align.preferences import PreferenceVector
from persona_align.records import Turn
from persona_align.steering import SteeredModel
from persona_align.steering.questionnaire import questionnaire

QUESTIONS = [topic.held_out[0] for topic in topics()[:60:4]]


@pytest.fixture(scope="module")
def bundled():
    return demo.load()


def replies(bundled, prompts, offsets=None):
    model, tokenizer = bundled
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    batch = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
    )
    with SteeredModel.of(model).plan([offsets] * len(prompts)):
        out = model.generate(**batch, max_new_tokens=110, do_sample=False)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def mean_length(texts):
    return sum(map(len, texts)) / len(texts)


def numbered(texts):
    return sum("1)" in text and "2)" in text for text in texts) / len(texts)


def told(key, value, question):
    vector = PreferenceVector.of({key: value})
    return with_block(preferences_block([pba_line(vector[key])]), question)


def test_a_reply_to_the_demo_question_is_about_dinner(bundled):
    reply = replies(bundled, [demo.QUESTION])[0]
    assert re.search(r"dinner|cook|pasta|curry|make", reply.lower())
    assert reply[-1] in ".!?"


@pytest.mark.slow
def test_replies_to_held_out_questions_follow_a_told_preference(bundled):
    brief = replies(bundled, [told("conciseness", 0.9, q) for q in QUESTIONS])
    thorough = replies(bundled, [told("conciseness", -0.9, q) for q in QUESTIONS])
    assert mean_length(brief) * 2 < mean_length(thorough)
    assert numbered(replies(bundled, [told("order", 0.9, q) for q in QUESTIONS])) > 0.8
    assert numbered(replies(bundled, [told("order", -0.9, q) for q in QUESTIONS])) < 0.2


@pytest.mark.slow
def test_replies_follow_what_earlier_messages_show(bundled):
    def shown(texts, question):
        return with_block(earlier_messages_block([ica_line(Turn(role="user", text=t)) for t in texts]), question)

    brief = [shown(["Keep it short, please.", "I don't read long replies."], q) for q in QUESTIONS]
    thorough = [shown(["Please explain in detail, I want the whole picture."], q) for q in QUESTIONS]
    assert mean_length(replies(bundled, brief)) * 1.5 < mean_length(replies(bundled, thorough))


@pytest.mark.slow
def test_offsets_do_without_a_prompt_what_the_prompt_does_and_negated_the_opposite(bundled):
    basis = demo.shipped_basis(bundled[0])
    vector = PreferenceVector.of({"conciseness": 0.9})
    brief = replies(bundled, QUESTIONS, basis.offsets(vector))
    thorough = replies(bundled, QUESTIONS, basis.offsets(-vector))
    assert mean_length(brief) * 1.5 < mean_length(thorough)


def test_answers_to_a_statement_follow_the_told_personality(bundled):
    model, tokenizer = bundled
    letters = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "ABCDE"]
    means = []
    for level in (4, 0):
        block = persona([2, 2, 2, 2, level])
        agreement = 0.0
        for reverse in (False, True):
            messages = questionnaire("Worry about things.", reverse=reverse, persona=block)
            batch = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            likely = model(**batch).logits[0, -1, letters].softmax(-1).tolist()
            agreement += sum(p * (i + 1 if reverse else 5 - i) for i, p in enumerate(likely)) / 2
        means.append(agreement)
    assert means[0] > means[1] + 0.5
