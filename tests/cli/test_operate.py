"""reembed, doctor and eval: what an operator runs."""

import json

import pytest

from persona_align import PersonaAligner
from persona_align.commands import reembed
from persona_align.testing import HashEncoder
from tests.cli.conftest import CHAT


@pytest.fixture
def old(here):
    """A memory that another encoder made, with two users."""
    from persona_align.records import Turn

    with PersonaAligner.open(here / "persona-align-memory", encoder=HashEncoder()) as aligner:
        for user in ("ada", "ben"):
            aligner.record(user, *(Turn(role=role, text=text, thread_id=user) for role, text in CHAT))
        aligner.correct("ada", "humor", 0.25)
        return {user: aligner.export(user)["records"] for user in ("ada", "ben")}


def exported(run, user, *options):
    return json.loads(run("export", user, *options).stdout)["records"]


def test_reembed_keeps_every_record_and_lets_the_new_encoder_in(run, old, here):
    run("show", "ada", code=1)
    assert json.loads(run("reembed", "--json").stdout) == {"store": "persona-align-memory", "users": 2, "records": 7}
    assert {user: exported(run, user) for user in old} == old
    assert json.loads(run("show", "ada", "--json").stdout)["dimensions"]["humor"]["value"] == 0.25
    assert [path.name for path in here.iterdir()] == ["persona-align-memory"]


def test_reembed_goes_on_where_it_was_interrupted(run, old, here, monkeypatch):
    real, calls = reembed._checked, []

    def interrupted(user, expected, found):
        calls.append(user)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(user, expected, found)

    monkeypatch.setattr(reembed, "_checked", interrupted)
    run("reembed", code=130)
    assert (here / "persona-align-memory.reembedding").is_dir()
    run("show", "ada", code=1)
    run("reembed")
    assert {user: exported(run, user) for user in old} == old


@pytest.mark.parametrize("moment", ["before", "after"])
def test_reembed_finishes_an_exchange_that_a_crash_cut(run, old, here, moment):
    store = here / "persona-align-memory"
    run("reembed", "--to", "persona-align-memory.reembedding")
    store.rename(here / "persona-align-memory.retired")
    if moment == "after":
        (here / "persona-align-memory.reembedding").rename(store)
    run("reembed")
    assert {user: exported(run, user) for user in old} == old
    assert [path.name for path in here.iterdir()] == ["persona-align-memory"]


def test_reembed_to_another_place_leaves_the_old_one(run, old, here):
    run("reembed", "--to", "new")
    assert exported(run, "ben", "--store", "new") == old["ben"]
    with PersonaAligner.open(here / "persona-align-memory", encoder=HashEncoder()) as aligner:
        assert aligner.export("ben")["records"] == old["ben"]


def test_reembed_without_a_memory_or_on_a_server(run, here):
    assert "There is no memory" in run("reembed", code=1).stderr
    assert "--to" in run("reembed", "--store", "http://127.0.0.1:1", code=1).stderr
    assert list(here.iterdir()) == []


def test_scrub_rewrites_the_folder_of_a_server_and_keeps_what_is_there(run, here):
    import chromadb

    client = chromadb.PersistentClient(str(here / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("people", embedding_function=None)
    collection.add(
        ids=["a", "b"], embeddings=[[1.0, 0.0], [0.0, 1.0]], metadatas=[{"t": "staying"}, {"t": "xyloph0ne"}]
    )
    collection.delete(ids=["b"])
    client.close()
    told = json.loads(run("scrub", "chroma", "--json").stdout)
    assert told == {"folder": "chroma", "rows": 1}
    left = b"".join(file.read_bytes() for file in (here / "chroma").rglob("*") if file.is_file())
    assert b"staying" in left
    assert b"xyloph0ne" not in left
    assert "no Chroma folder" in run("scrub", "nowhere", code=1).stderr


def test_eval_without_data_says_where_to_name_it(run):
    for name in ("psoups", "prefeval", "papi", "papi-chat"):
        assert "PERSONA_ALIGN_DATA" in run("eval", name, "--data", "nowhere", code=1).stderr
        assert "PERSONA_ALIGN_DATA" in run("eval", name, "--data", ".", code=1).stderr


def test_eval_shows_numbers_counts_cases_and_writes_them(run, here, monkeypatch):
    import types

    import persona_align.commands.evaluate as evaluate

    def benchmark(data, *, seed, progress):
        progress(1, 1)
        return {
            "seed": seed,
            "arms": {"own": {"accuracy": 0.94123456, "interval": [0.9, 1.0]}, "no user": 0.68123},
            "cases": [{"case": i} for i in range(9)],
        }

    monkeypatch.setattr(evaluate, "import_module", lambda name: types.SimpleNamespace(run=benchmark))
    shown = run("eval", "psoups", "--data", ".", "--seed", "3", "--output", "out").stdout
    assert "0.941  [0.900, 1.000]" in shown
    assert "0.6812" in shown
    assert "9 entries" in shown
    written = json.loads((here / "out" / "psoups.json").read_text())
    assert (written["seed"], len(written["cases"])) == (3, 9)
    assert json.loads(run("eval", "psoups", "--data", ".", "--json").stdout)["arms"]["own"]["accuracy"] == 0.94123456


def test_eval_without_an_extra_names_it(run, monkeypatch):
    import persona_align.commands.evaluate as evaluate

    def missing(name):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(evaluate, "import_module", missing)
    assert "persona-align[eval]" in run("eval", "papi", "--data", ".", code=1).stderr
