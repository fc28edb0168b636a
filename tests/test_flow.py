"""Every mode through the runnable, over real parts; what the model was shown is what EchoChat kept."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from persona_align import ChatTransformers, Comparison, PersonaAligner, PreferenceVector, SteeringBasis, Turn, demo
from persona_align.errors import UnsupportedModeError
from persona_align.testing import EchoChat

SHORT = Turn(role="user", text="Please keep your answers short and to the point, I hate long explanations.")
COOKS = Turn(role="user", text="I love gourmet food, fine cooking is what I live for.")
QUESTION = "What shall I cook tonight?"
ADA = {"configurable": {"user_id": "ada", "thread_id": "t1"}}
NOBODY = {"configurable": {"user_id": "nobody"}}


@pytest.fixture
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        opened.record("ada", SHORT)
        yield opened


@pytest.fixture(scope="module")
def chat():
    model, tokenizer = demo.load()
    return ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=60)


def shown(aligner, mode, text=QUESTION, config=ADA, **settings):
    model = EchoChat()
    aligner.wrap(model, mode, **settings).invoke(text, config)
    return model.prompts[-1]


def records(aligner, user="ada"):
    return [(record.get("role"), record.get("text")) for record in aligner.export(user)["records"]]


def test_pba_names_the_preference_and_ica_shows_the_message(aligner):
    assert "- Concise communication style" in shown(aligner, "pba")[-1].text
    assert f'- "{SHORT.text}"' in shown(aligner, "ica")[-1].text


@pytest.mark.parametrize("mode", ["ica", "pba", "auto", "off"])
def test_an_unknown_user_changes_nothing(aligner, mode):
    prompt = [SystemMessage("Be kind."), HumanMessage(QUESTION)]
    assert shown(aligner, mode, prompt, NOBODY, record=False) == prompt


@pytest.mark.parametrize("mode", ["ica", "pba"])
def test_topics_colour_only_what_concerns_them(encoder, mode):
    with PersonaAligner.open(encoder=encoder) as aligner:
        aligner.record("ada", COOKS)
        assert aligner.preferences("ada")["gourmet"].value > 0
        assert "gourmet" in shown(aligner, mode, record=False)[-1].text.lower()
        for unrelated in ("Write a SQL query that joins two tables.", "What is the capital of France?"):
            assert [m.text for m in shown(aligner, mode, unrelated, record=False)] == [unrelated]


def test_a_question_is_encoded_only_for_the_sake_of_an_interest(encoder, chat, monkeypatch):
    with PersonaAligner.open(encoder=encoder) as aligner:
        aligner.correct("ada", "conciseness", 0.9)
        aligned = aligner.wrap(chat, "auto", record=False)
        encoded = []
        monkeypatch.setattr(aligner, "encode", lambda text: encoded.append(text) or encoder.encode([text])[0])
        aligned.invoke("What shall I cook?", ADA)
        assert encoded == []
        aligner.correct("ada", "travel", 0.9)
        aligned.invoke("Where shall I go?", ADA)
        assert encoded == ["Where shall I go?"]


def test_the_question_is_recorded_first_counts_and_is_not_shown_back(aligner):
    ask = "Tell me a joke! I love jokes and humor. And what shall I cook?"
    prompt = shown(aligner, "ica", ask)
    assert prompt[-1].text.count(ask) == 1
    assert aligner.preferences("ada")["humor"].value > 0
    assert records(aligner) == [("user", SHORT.text), ("user", ask), ("assistant", prompt[-1].text)]


def test_only_messages_behind_the_last_reply_are_new(aligner):
    history = [HumanMessage("Old question"), AIMessage("Old answer"), HumanMessage("New one"), HumanMessage("And more")]
    shown(aligner, "off", history)
    assert [text for role, text in records(aligner) if role == "user"] == [SHORT.text, "New one", "And more"]


def test_the_conversation_before_the_question_stays(aligner):
    prompt = [SystemMessage("Be kind."), HumanMessage("Hello"), AIMessage("Hi!"), HumanMessage(QUESTION)]
    before = [message.model_dump() for message in prompt]
    assert shown(aligner, "pba", prompt)[:-1] == prompt[:-1]
    assert [message.model_dump() for message in prompt] == before


def test_record_false_records_nothing(aligner):
    shown(aligner, "pba", record=False)
    assert records(aligner) == [("user", SHORT.text)]


def test_a_picture_alone_is_answered_and_not_recorded(aligner):
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])
    assert shown(aligner, "pba", [picture]) == [picture]
    assert ("user", "") not in records(aligner)


@pytest.mark.parametrize("budget", [0, 30, 80])
def test_the_token_budget_holds(aligner, budget):
    words = str.split
    for mode in ("ica", "pba"):
        text = shown(aligner, mode, max_prompt_tokens=budget, count_tokens=lambda t: len(words(t)), record=False)[
            -1
        ].text
        block = text.split("\n\n[Message]")[0] if "[Message]" in text else ""
        assert len(words(block)) <= budget


def test_the_reply_says_why(aligner):
    why = aligner.wrap(EchoChat(), "pba").invoke(QUESTION, ADA).response_metadata["persona_align"]
    assert why["mode"] == "pba"
    assert why["dimensions"]["conciseness"] > 0
    assert SHORT.text not in str(why)


def test_auto_is_pba_for_a_model_that_cannot_be_steered(aligner, caplog):
    with caplog.at_level("INFO", logger="persona_align"):
        aligned = aligner.wrap(EchoChat())
    assert aligned.flow.resolved.mode == "pba"
    assert "no access to its activations" in caplog.text


def test_modes_that_cannot_work_name_those_that_can(aligner):
    with pytest.raises(UnsupportedModeError, match="'pba'"):
        aligner.wrap(EchoChat(), "pas")
    with pytest.raises(UnsupportedModeError, match="'rerank'"):
        aligner.wrap(EchoChat(), "steer")


def test_steering_changes_the_reply_through_bind_and_retry(aligner, chat):
    base = chat.invoke(QUESTION).text
    aligner.correct("ada", "humor", 1.0)
    for model in (chat, chat.bind(stop=["\n\n\n"]), chat.with_retry(stop_after_attempt=2)):
        aligned = aligner.wrap(model, "pas", record=False)
        assert aligned.invoke(QUESTION, ADA).text != base
        assert aligned.invoke(QUESTION, NOBODY).text == base
    assert aligner.wrap(chat, "pas", strength=0, record=False).invoke(QUESTION, ADA).text == base
    assert chat.invoke(QUESTION).text == base


def test_auto_steers_where_a_basis_ships(aligner, chat):
    aligned = aligner.wrap(chat, record=False)
    assert aligned.flow.resolved.mode == "auto"
    why = aligned.invoke(QUESTION, ADA).response_metadata["persona_align"]
    assert why["steered"]["conciseness"] > 0
    assert why["dimensions"]["conciseness"] > 0


def test_a_negated_vector_steers_the_other_way(chat):
    basis = SteeringBasis.from_pretrained(demo.basis_folder(), chat.model)
    vector = PreferenceVector.of({"conciseness": 0.9})
    lengths = [len(chat.invoke(QUESTION, offsets=basis.offsets(v)).text) for v in (vector, -vector)]
    assert lengths[0] < lengths[1]


def test_rerank_follows_the_users_taste(aligner, chat):
    tail = ", which I would recommend, all things considered, because many people have come to appreciate it greatly."
    pairs = [("Why?", "Because"), ("Film?", "Alien"), ("Gift?", "A book"), ("Trip?", "Rome")]
    aligner.record("cara", *(Comparison(prompt=p, chosen=f"{a}.", rejected=a + tail) for p, a in pairs))
    aligner.record("dave", *(Comparison(prompt=p, chosen=a + tail, rejected=f"{a}.") for p, a in pairs))
    replies = {
        user: aligner.wrap(chat, "rerank", seed=1, record=False, candidates=6)
        .invoke(QUESTION, {"configurable": {"user_id": user}})
        .text
        for user in ("cara", "dave", "nobody")
    }
    assert len(replies["cara"]) < len(replies["dave"])
    assert replies["nobody"] == chat.invoke(QUESTION, temperature=0.8, seed=1).text


def test_replies_stream_in_every_mode(aligner, chat):
    for mode in ("off", "ica", "pba", "pas", "rerank", "auto"):
        aligned = aligner.wrap(chat, mode, seed=0, record=False)
        assert "".join(chunk.text for chunk in aligned.stream(QUESTION, ADA)) == aligned.invoke(QUESTION, ADA).text
