"""The program as a whole: help, version, completion, start-up."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from persona_align import __version__
from persona_align.cli import app
from persona_align.commands.options import FormatName
from persona_align.formats import FORMATS

COMMANDS = [
    ("demo",), ("ingest",), ("chat",), ("serve",), ("show",), ("explain",), ("dimensions",), ("correct",),
    ("release",), ("forget",), ("export",), ("restore",), ("doctor",), ("reembed",), ("scrub",), ("backfill",),
    ("eval",), ("eval", "psoups"), ("eval", "prefeval"),
    ("eval", "papi"), ("eval", "papi-chat"), ("eval", "alignx"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run, command):
    assert len(run(*command, "--help").stdout) > 300


def test_the_root_lists_every_command_and_the_version(run):
    listed = run("--help").stdout
    assert all(command[0] in listed for command in COMMANDS)
    assert len(app.registered_commands) + 1 == len({command[0] for command in COMMANDS})
    assert run("--version").stdout.strip() == f"persona-align {__version__}"
    run(code=2)
    assert "No such command" in run("shwo", code=2).stderr


def test_the_formats_of_the_option_are_those_that_are_read():
    from typing import get_args

    assert get_args(FormatName) == FORMATS


def test_starting_is_light_and_the_process_ends_as_promised(tmp_path):
    script = (
        "import sys\nfrom persona_align.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )

    def process(*arguments):
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, encoding="utf-8")

    helped = process("--help")
    assert helped.returncode == 0
    heavy = {"torch", "transformers", "chromadb", "sentence_transformers", "langchain_core", "numpy", "ray"}
    assert not heavy & set(helped.stderr.split())
    (tmp_path / "cut.json").write_text('[{"role": "user", "content": "x')
    wrong = process("ingest", "cut.json", "--user", "ada")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "cut.json, line 1: the JSON ends in the middle" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert process("ingest").returncode == 2


@pytest.mark.parametrize(
    ("typed", "place", "offered"),
    [
        ("persona-align re", 1, {"release", "restore", "reembed"}),
        ("persona-align explain ada conci", 3, {"conciseness"}),
        ("persona-align ingest --format sh", 3, {"sharegpt"}),
    ],
)
def test_the_shell_completes_commands_dimensions_and_formats(monkeypatch, typed, place, offered):
    monkeypatch.setenv("_PERSONA_ALIGN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(place))
    result = CliRunner().invoke(app, [], prog_name="persona-align")
    assert set(result.output.split()) == offered


def test_json_stays_json_on_a_terminal_without_unicode(tmp_path):
    script = "from persona_align.commands.console import print_json; print_json({'said': 'Grüße'})"
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii"}
    ).stdout
    assert json.loads(shown) == {"said": "Grüße"}
