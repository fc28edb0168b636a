"""show, explain, correct, release, forget, export and restore."""

import json
import re
import stat

import pytest


def test_show_has_bars_values_confidence_and_evidence(ada):
    shown = ada("show", "ada").stdout
    for word in ("dimension", "value", "confidence", "evidence", "conciseness", "│"):
        assert word in shown
    known = json.loads(ada("show", "ada", "--json").stdout)["dimensions"]
    assert known["conciseness"]["value"] > 0
    assert known["conciseness"]["evidence"] == 1


def test_a_stranger_is_unknown_and_not_an_error(ada):
    assert "Nothing is known of bob" in ada("show", "bob").stdout
    assert json.loads(ada("show", "bob", "--json").stdout) == {"user_id": "bob", "dimensions": {}}


def test_explain_quotes_what_moved_a_dimension(ada):
    assert "keep your answers short" in ada("explain", "ada", "conciseness").stdout
    found = json.loads(ada("explain", "ada", "conciseness", "--json").stdout)
    assert found["evidence"][0]["weight"] > 0
    assert found["evidence"][0]["kind"] == "turn"
    assert "Nothing that ada said" in ada("explain", "ada", "weddings").stdout


def test_an_unknown_dimension_is_told_with_the_nearest(ada):
    said = ada("explain", "ada", "concisenes", code=1).stderr
    assert "conciseness" in said
    assert "`persona-align dimensions` lists them all" in said
    assert "space.keys" not in said


def test_the_dimensions_can_be_listed_and_searched(run):
    listed = json.loads(run("dimensions", "--json").stdout)["dimensions"]
    assert len(listed) == 90
    assert [each["key"] for each in listed if each["sensitive"]] == ["age_group", "gender"]
    shown = run("dimensions", "MUSIC").stdout
    assert "Likes music" in shown
    assert "humor" not in shown
    assert "lists them all" in run("dimensions", "xylophone", code=1).stderr


def test_only_what_was_set_by_hand_is_released(ada):
    assert "was not set by hand" in ada("release", "ada", "music", code=1).stderr
    assert "was not set by hand" in ada("release", "nobody", "music", code=1).stderr
    assert json.loads(ada("export", "nobody").stdout)["records"] == []
    ada("correct", "ada", "music", "1")
    ada("release", "ada", "music")
    assert "was not set by hand" in ada("release", "ada", "music", code=1).stderr


def test_an_export_is_short_enough_to_read(ada):
    text = ada("export", "ada").stdout
    assert len(json.loads(text)["vector"]["values"]) == 90
    assert not re.search(r"^\s*-?\d[\d.e-]*,?$", text, re.MULTILINE), "a list of numbers is on one line"


def test_correct_locks_and_release_gives_back(ada):
    before = json.loads(ada("show", "ada", "--json").stdout)["dimensions"]["conciseness"]["value"]
    assert "is now -0.50" in ada("correct", "ada", "conciseness", "-0.5").stdout
    assert json.loads(ada("show", "ada", "--json").stdout)["dimensions"]["conciseness"]["value"] == -0.5
    again = json.loads(ada("release", "ada", "conciseness", "--json").stdout)
    assert again["value"] == pytest.approx(before)
    ada("correct", "ada", "conciseness", "1.5", code=2)


def test_nothing_is_read_where_no_memory_is(run, here):
    for command in (("show", "ada"), ("explain", "ada", "humor"), ("forget", "ada", "--yes"), ("export", "ada")):
        assert "There is no memory at" in run(*command, code=1).stderr
    assert list(here.iterdir()) == []


def test_a_terminal_is_not_driven_by_what_was_said(run, here):
    said = "Please keep your answers short, \x1b[31mI hate long explanations.\x07"
    (here / "chat.json").write_text(json.dumps([{"role": "user", "content": said}]))
    run("ingest", "chat.json", "--user", "ada")
    shown = run("explain", "ada", "conciseness").stdout
    assert "I hate long" in shown
    assert "\x1b[31m" not in shown
    assert "\x07" not in shown


def test_export_and_restore_keep_the_preferences(ada, here):
    before = json.loads(ada("show", "ada", "--json").stdout)
    ada("export", "ada", "--output", "ada.json")
    assert stat.S_IMODE((here / "ada.json").stat().st_mode) == 0o600
    assert "Restored 3 records of ada" in ada("restore", "ada.json", "--store", "other").stdout
    assert json.loads(ada("show", "ada", "--json", "--store", "other").stdout) == before


@pytest.mark.parametrize("content", ['{"records": []}', "[1]", '{"records": [', ""])
def test_what_is_no_export_is_not_restored(ada, here, content):
    (here / "bad.json").write_text(content)
    assert "Error" in ada("restore", "bad.json", code=1).stderr


def test_export_to_a_place_that_cannot_be_written(ada):
    assert "cannot be written" in ada("export", "ada", "--output", "missing/ada.json", code=1).stderr


def test_forget_asks_first_and_then_erases(ada, chat_file):
    assert "cannot be undone" in ada("forget", "ada", code=1, input="n\n").stderr
    assert len(json.loads(ada("export", "ada").stdout)["records"]) == 3
    ada("ingest", chat_file, "--user", "ben")
    ada("forget", "ada", input="y\n")
    assert json.loads(ada("export", "ada").stdout)["records"] == []
    assert len(json.loads(ada("export", "ben").stdout)["records"]) == 3


def test_forget_some_records_and_print_a_receipt(ada, here):
    ids = [record["id"] for record in json.loads(ada("export", "ada").stdout)["records"]]
    receipt = json.loads(ada("forget", "ada", "--record", ids[0], "--yes", "--json").stdout)
    assert receipt["user_id"] == "ada"
    held = [record["id"] for record in json.loads(ada("export", "ada").stdout)["records"]]
    assert held == ids[1:]
