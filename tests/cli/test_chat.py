"""chat, with a tiny model from a folder."""

import json

import pytest


@pytest.fixture
def talk(run, model):
    def talks(*arguments, **options):
        return run(
            "chat", "--user", "ada", "--model", model, "--max-tokens", "8", "--mode", "ica", *arguments, **options
        )

    return talks


def said_by(run, user):
    return [(record["role"], record["text"]) for record in json.loads(run("export", user).stdout)["records"]]


def test_one_message_is_answered_recorded_and_explained(ada, talk):
    reply = json.loads(talk("--message", "Which tea?", "--json").stdout)
    assert reply["reply"]
    assert reply["why"]["mode"] == "ica"
    assert said_by(ada, "ada")[-2:] == [("user", "Which tea?"), ("assistant", reply["reply"])]


def test_the_streamed_reply_is_the_same_and_says_what_shaped_it(ada, talk):
    whole = json.loads(talk("--message", "Which tea?", "--json", "--no-record").stdout)["reply"]
    shown = talk("--message", "Which tea?", "--why", "--no-record")
    printable = "".join(letter for letter in whole if letter.isprintable() and letter != "\ufffd")
    assert set(printable) <= set(shown.stdout)
    assert "mode ica" in shown.stderr
    assert len(said_by(ada, "ada")) == 3


def test_a_conversation_reads_lines_until_the_end(ada, talk):
    talk(input="Which tea?\n\nAnd for the evening?\n/exit\nnot read\n")
    said = [text for role, text in said_by(ada, "ada")[3:] if role == "user"]
    assert said == ["Which tea?", "And for the evening?"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json"], "--message"),
        (["--message", "x", "--mode", "pas"], "needs a steering basis"),
        (["--message", " \n"], "nothing to answer"),
    ],
)
def test_mistakes_are_told(ada, talk, arguments, said):
    assert said in talk(*arguments, code=1).stderr


def test_a_model_that_is_not_there(run, here):
    for name in ("./nowhere", here / "nowhere"):
        assert "There is no model at" in run("chat", "-u", "ada", "-m", "x", "--model", name, code=1).stderr
    (here / "empty").mkdir()
    assert "could not be loaded" in run("chat", "-u", "ada", "-m", "x", "--model", here / "empty", code=1).stderr
