import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from persona_align import demo
from persona_align.demo.corpus.layouts import layouts_hash
from persona_align.errors import PersonaAlignError

MODEL = Path(demo.__file__).parent / "model"
BASIS = demo.basis_folder()


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    return folder


def test_load_gives_fresh_float32_objects_of_the_promised_shape():
    model, tokenizer = demo.load()
    again, _ = demo.load()
    assert model is not again
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.max_position_embeddings >= 2048
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert not model.training
    assert len(tokenizer) == model.config.vocab_size
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert next(again.parameters()).abs().sum() > 0


def test_everything_shipped_stays_under_twelve_megabytes():
    size = sum(path.stat().st_size for folder in (MODEL, BASIS) for path in folder.rglob("*") if path.is_file())
    assert size < 12e6


def test_importing_the_demo_does_not_import_torch():
    code = "import sys, persona_align.demo; print('torch' in sys.modules or 'transformers' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_layouts_are_those_that_the_model_was_trained_on():
    training = json.loads((MODEL / "training.json").read_text())
    assert training["layouts"] == layouts_hash(), "a layout changed: train the bundled model anew"
    assert training["layouts"] in (MODEL / "MODEL_CARD.md").read_text()


def test_the_card_names_command_seed_versions_and_losses():
    training = json.loads((MODEL / "training.json").read_text())
    card = (MODEL / "MODEL_CARD.md").read_text()
    assert training["command"] in card
    assert f"Seed {training['seed']}" in card
    assert f"torch {training['versions']['torch']}" in card
    assert training["loss"][-1]["chat"] < training["loss"][0]["chat"]
    assert str(training["calibrated_on"]) in card
    assert "/work/" not in card


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_an_altered_file_is_refused_by_name(copied, name):
    path = copied / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PersonaAlignError, match=f"altered.*{name}.*checksum"):
        demo.load(copied)


def test_a_missing_file_is_refused_by_name(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(PersonaAlignError, match=r"model\.safetensors is missing"):
        demo.load(copied)


def test_a_missing_folder_names_the_remedy(tmp_path):
    with pytest.raises(PersonaAlignError, match=r"persona_align\.demo\.train"):
        demo.load(tmp_path / "nowhere")


def test_a_tokenizer_that_does_not_belong_is_refused_even_with_right_checksums(copied):
    path = copied / "tokenizer.json"
    table = json.loads(path.read_text())
    vocabulary = table["model"]["vocab"]
    first, second = list(vocabulary)[400:402]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(table))
    sums = json.loads((copied / "checksums.json").read_text())
    sums["tokenizer.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copied / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(PersonaAlignError, match="does not belong to the weights"):
        demo.load(copied)


def test_the_chat_template_renders_every_role_and_refuses_others():
    _, tokenizer = demo.load()
    text = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "u"}]},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]},
            {"role": "tool", "content": "t"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}],
        tokenize=False,
        add_generation_prompt=True,
    )
    for part in ("<|begin|><|tools|>", "<|system|>s<|end|>", "<|user|>u<|end|>", '"name": "f"', "<|tool|>t<|end|>"):
        assert part in text
    assert text.endswith("<|assistant|>")
    with pytest.raises(Exception, match="not stranger"):
        tokenizer.apply_chat_template([{"role": "stranger", "content": "x"}], tokenize=False)


def test_any_text_survives_the_tokenizer():
    _, tokenizer = demo.load()
    text = "Grüße, 你好 🙂 \t x=42;\nline"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_shipped_basis_belongs_to_the_model():
    model, _ = demo.load()
    basis = demo.shipped_basis(model)
    assert basis is not None
    assert "humor" in basis.dimensions
    with torch.no_grad():
        model.model.norm.weight.add_(1.0)
        for parameter in model.parameters():
            parameter.add_(0.01)
    assert demo.shipped_basis(model) is None
