import json
import shutil
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from persona_align import demo
from persona_align.demo.train import main, train
from persona_align.demo.training.attention import use_plain_attention
from persona_align.demo.training.feeding import fed
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


def numbered(seed, skip):
    """An endless stream whose entries name their seed and place."""
    return ((seed, place) for place in count(skip))


@pytest.mark.parametrize("skip", [1, 2, 5])
def test_batches_written_by_several_processes_go_on_where_they_were(skip):
    whole = list(islice(fed(numbered, seed=0, skip=0, processes=2), 9))
    assert len({tuple(batch) for batch in whole}) == 9
    assert list(islice(fed(numbered, seed=0, skip=skip, processes=2), 9 - skip)) == whole[skip:]


def test_a_wrong_statements_file_ends_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "items.csv"
    path.write_text("item,text\n1,Hum.\n")
    assert main(["--statements", str(path), "--runs", str(tmp_path / "runs")]) == 2
    assert "lacks the columns sign, facet_key" in capsys.readouterr().err


def test_a_trained_model_learns_on_and_its_card_names_both_trainings(tmp_path):
    first = tmp_path / "first"
    shutil.copytree(MODEL, first)
    learnt_on = run(tmp_path, "again", 2, seed=1, start=first)
    training, begun = (json.loads((folder / "training.json").read_text()) for folder in (learnt_on, first))
    before = load_file(first / "model.safetensors")
    after = load_file(learnt_on / "model.safetensors")
    assert before.keys() == after.keys()
    moved = max((before[name].float() - after[name].float()).abs().max().item() for name in before)
    assert 0 < moved < 0.05
    assert (learnt_on / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    card = (learnt_on / "MODEL_CARD.md").read_text()
    assert begun["command"] in card
    assert training["command"] in card
    assert " --start " in training["command"]
    assert training["begun_from"]["weights"] in card
    # What it started from is kept in the run: an interrupted training goes on without it, but not with another setting.
    shutil.rmtree(first)
    run(tmp_path, "again", 3, seed=1, start=first)
    with pytest.raises(PersonaAlignError, match="begun_from"):
        run(tmp_path, "again", 3, seed=1)


def test_a_damaged_model_to_start_from_is_refused_before_anything_is_trained(tmp_path):
    first = tmp_path / "first"
    shutil.copytree(MODEL, first)
    with (first / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PersonaAlignError, match=r"altered.*model\.safetensors"):
        run(tmp_path, "again", 2, start=first)
    assert not (tmp_path / "again" / "checkpoint.pt").exists()


def test_plain_attention_gives_what_the_fused_kernel_gives():
    model, tokenizer = demo.load()
    ids = tokenizer("What shall I cook tonight?", return_tensors="pt")["input_ids"].repeat(2, 1)
    expected = model(ids, use_cache=False).logits
    gradient = torch.autograd.grad(expected.square().mean(), model.model.layers[0].self_attn.q_proj.weight)[0]
    use_plain_attention(model)
    found = model(ids, use_cache=False).logits
    again = torch.autograd.grad(found.square().mean(), model.model.layers[0].self_attn.q_proj.weight)[0]
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(again, gradient, atol=2e-4, rtol=1e-3)
    assert "attn" not in json.dumps(model.config.to_dict())
