"""ingest: whole or not at all, once however often, and every mistake told in a sentence."""

import json

import pytest

from persona_align import PersonaAligner
from tests.cli.conftest import CHAT


def test_a_chat_is_recorded_once_however_often_it_is_ingested(run, chat_file):
    first = json.loads(run("ingest", chat_file, "--user", "ada", "--json").stdout)
    assert first == {"user_id": "ada", "format": "openai", "records": 3, "new": 3, "kinds": {"turn": 3}}
    assert json.loads(run("ingest", chat_file, "--user", "ada", "--json").stdout)["new"] == 0
    held = json.loads(run("export", "ada").stdout)["records"]
    assert [(record["role"], record["text"]) for record in held] == CHAT


def test_it_says_what_it_did_and_what_comes_next(run, chat_file):
    said = run("ingest", chat_file, "--user", "ada").stdout
    assert "3 turns; 3 new for ada" in said
    assert "persona-align show ada" in said


def test_the_store_comes_from_the_option_or_the_environment(run, chat_file, here, monkeypatch):
    run("ingest", chat_file, "--user", "ada", "--store", here / "one")
    monkeypatch.setenv("PERSONA_ALIGN_STORE", str(here / "two"))
    run("ingest", chat_file, "--user", "ada")
    assert (here / "one").is_dir()
    assert (here / "two").is_dir()
    assert not (here / "persona-align-memory").exists()


def test_nothing_of_a_broken_file_is_recorded(ada, here):
    lines = [json.dumps({"role": "user", "content": f"Message {i}"}) for i in range(400)]
    (here / "cut.jsonl").write_text("\n".join([*lines, '{"role": "user", "cont']))
    result = ada("ingest", here / "cut.jsonl", "--user", "ada", code=1)
    assert "line 401: the JSON ends in the middle" in result.stderr
    assert len(json.loads(ada("export", "ada").stdout)["records"]) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"role": "user"}]', "line 1: [0].content is missing"),
        ('[{"role": "narrator", "content": "x"}]', "unknown role 'narrator'"),
        ("", "is empty"),
        ('[{"role": "assistant", "content": ""}]', "no messages with text"),
        ("{}", "none of the known formats"),
    ],
)
def test_a_bad_file_is_one_sentence_and_no_memory_is_made(run, here, content, said):
    (here / "bad.json").write_text(content)
    result = run("ingest", "bad.json", "--user", "ada", code=1)
    assert said in result.stderr
    assert result.stdout == ""
    assert not (here / "persona-align-memory").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.json", "--user", "ada"], 1, "There is no file nowhere.json"),
        ([".", "--user", "ada"], 1, "is a folder"),
        (["chat.json", "--user", " "], 1, "No user was named"),
        (["chat.json", "--user", "ada", "--case", "7"], 1, "There is no case 7"),
        (["chat.json", "--user", "ada", "--store", "chat.json"], 1, "chat.json"),
        (["chat.json"], 2, "--user"),
        (["chat.json", "--user", "ada", "--format", "csv"], 2, "csv"),
    ],
)
def test_mistakes_have_exit_codes(run, chat_file, arguments, code, said):
    assert said in run("ingest", *arguments, code=code).stderr


def test_cases_of_several_people_are_noted_and_one_can_be_taken(run, here):
    pair = {"prompt": "Say hello.", "chosen": "Hi!", "rejected": "Good day to you."}
    cases = [{"Pair-wise Comparative Feedback": [{**pair, "chosen": text}]} for text in ("Hi!", "Hey.")]
    (here / "cases.json").write_text(json.dumps(cases))
    assert "2 cases, each of another person" in run("ingest", "cases.json", "--user", "all").stderr
    one = run("ingest", "cases.json", "--user", "ben", "--case", "1")
    assert "another person" not in one.stderr
    assert [record["chosen"] for record in json.loads(run("export", "ben").stdout)["records"]] == ["Hey."]


def test_a_memory_of_another_encoder_is_refused_with_the_remedy(run, chat_file, here):
    from persona_align.testing import HashEncoder

    with PersonaAligner.open(here / "persona-align-memory", encoder=HashEncoder()):
        pass
    assert "persona-align reembed" in run("ingest", chat_file, "--user", "ada", code=1).stderr


@pytest.mark.data
def test_real_cases_are_recorded(run, benchmark_data):
    psoups = benchmark_data / "psoups" / "student_phd_half.json"
    case = json.loads(psoups.read_text())[0]
    got = json.loads(run("ingest", psoups, "--user", "ada", "--case", "0", "--json").stdout)
    assert (got["format"], got["kinds"]) == ("alignx", {"comparison": 4})
    held = json.loads(run("export", "ada").stdout)["records"]
    pairs = case["Pair-wise Comparative Feedback"]
    assert {record["chosen"] for record in held} == {pair["chosen"] for pair in pairs}
    assert case["chosen"] not in {text for record in held for text in (record["chosen"], record["rejected"])}

    talk = benchmark_data / "prefeval" / "persona" / "travel_restaurant.json"
    said = json.loads(talk.read_text())[1]["conversation"]
    got = json.loads(run("ingest", talk, "--user", "ben", "--case", "1", "--json").stdout)
    assert (got["format"], got["records"]) == ("prefeval", 2 * len(said))
    held = json.loads(run("export", "ben").stdout)["records"]
    assert [record["text"] for record in held if record["role"] == "user"] == [
        said[key]["user"] for key in sorted(said, key=int)
    ]
