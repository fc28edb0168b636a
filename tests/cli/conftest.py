"""The command line run in this process, in an empty folder, with one encoder for all commands."""

import json
import os

import pytest
from typer.testing import CliRunner

from persona_align.cli import app
from tests.steering.tiny_chat import tiny_chat

CHAT = [
    ("user", "Please keep your answers short and to the point, I hate long explanations."),
    ("assistant", "Sure."),
    ("user", "I love a good joke in between, humor makes my day."),
]


@pytest.fixture
def here(tmp_path, monkeypatch, encoder):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERSONA_ALIGN_STORE", raising=False)
    monkeypatch.delenv("PERSONA_ALIGN_ENCODER", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setitem(os.environ, "HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import persona_align.aligner

    real = persona_align.aligner.open_encoder
    monkeypatch.setattr(persona_align.aligner, "open_encoder", lambda name: encoder if name is None else real(name))
    return tmp_path


@pytest.fixture
def run(here):
    """Run a command line; its exit code, stdout and stderr."""
    runner = CliRunner()

    def runs(*arguments, code=0, input=None):
        result = runner.invoke(app, [str(argument) for argument in arguments], input=input)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return runs


@pytest.fixture
def chat_file(here):
    """A short chat in OpenAI's format."""
    path = here / "chat.json"
    path.write_text(json.dumps([{"role": role, "content": text} for role, text in CHAT]))
    return path


@pytest.fixture
def ada(run, chat_file):
    """Ada's chat is in memory."""
    run("ingest", chat_file, "--user", "ada")
    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a tiny random model."""
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_chat()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
