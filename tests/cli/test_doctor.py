"""doctor: what it finds well, and what it says to do."""

import json
from importlib import metadata

import pytest


def checks(result):
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_all_is_well(ada, model):
    found = ada("doctor", "--model", model, "--json")
    assert json.loads(found.stdout)["ok"] is True
    by_name = checks(found)
    assert {"python", "packages", "extras", "encoder", "model", "memory", "disk"} <= set(by_name)
    assert "384 dimensions" in by_name["encoder"]["said"]
    assert "1 user" in by_name["memory"]["said"]
    assert "All is well." in ada("doctor", "--model", model).stdout


def test_every_problem_has_a_remedy_and_the_exit_code_says_so(run, here):
    (here / "persona-align-memory").mkdir()
    (here / "persona-align-memory" / "holiday.jpg").write_text("x")
    result = run("doctor", "--model", "./nowhere", "--encoder", "./nowhere", "--json", code=1)
    problems = {name: check for name, check in checks(result).items() if check["status"] == "problem"}
    assert set(problems) == {"encoder", "model", "memory"}
    assert all(check["remedy"] for check in problems.values())
    assert "3 problems." in run("doctor", "--model", "./nowhere", "--encoder", "./nowhere", code=1).stdout


def test_a_server_that_does_not_answer(run, model):
    found = checks(run("doctor", "--model", model, "--store", "http://127.0.0.1:9", "--json", code=1))
    assert found["server"]["status"] == "problem"
    assert "chroma run" in found["server"]["remedy"]


@pytest.mark.parametrize(
    ("version", "problem"), [("0.0.1", "0.0.1 is installed, <3,>=2.12 is needed"), (None, "not installed")]
)
def test_a_package_that_does_not_fit_is_named_with_its_command(run, model, monkeypatch, version, problem):
    real = metadata.version

    def changed(name):
        if name != "pydantic":
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", changed)
    found = checks(run("doctor", "--model", model, "--json", code=1))["pydantic"]
    assert (found["said"], found["remedy"]) == (problem, "pip install 'pydantic<3,>=2.12'")
