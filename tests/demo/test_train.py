import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from persona_align import demo
from persona_align.demo.train import main, train
from persona_align.errors import PersonaAlignError

MODEL = Path(demo.__file__).parent / "model"


def run(tmp_path, name, steps, seed=0, **settings):
    """A training of a few tiny steps with the bundled tokenizer."""
    runs = tmp_path / name
    tokenizer = runs / "tokenizer"
    if not tokenizer.exists():
        tokenizer.mkdir(parents=True)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(MODEL / file, tokenizer)
    arguments = {"statements": None, "answers": None, "threads": 1, "tokens": 300, "save_every": 1, **settings}
    train(steps=steps, seed=seed, runs=runs, export=tmp_path / f"{name}-model", **arguments)
    return tmp_path / f"{name}-model"


@pytest.mark.slow
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    whole = run(tmp_path, "whole", 6)
    from persona_align.demo.training.learner import Learner

    learn, calls = Learner.learn, []

    def stopped(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    monkeypatch.setattr(Learner, "learn", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "broken", 6)
    monkeypatch.undo()
    resumed = run(tmp_path, "broken", 6)
    first, second = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert all((first[name] == second[name]).all() for name in first)
    model, tokenizer = demo.load(resumed)
    assert model.config.vocab_size == len(tokenizer)
    assert json.loads((resumed / "training.json").read_text())["steps"] == 6
    with pytest.raises(PersonaAlignError, match="seed"):
        run(tmp_path, "broken", 8, seed=1)


def test_a_wrong_statements_file_ends_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "items.csv"
    path.write_text("item,text\n1,Hum.\n")
    assert main(["--statements", str(path), "--runs", str(tmp_path / "runs")]) == 2
    assert "lacks the columns sign, facet_key" in capsys.readouterr().err
