"""A baked checkpoint loads like any other and says what the steered model says."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering import SteeredModel, bake, model_fingerprint
from tests.steering.helpers import batch, prompts, random_offsets
from tests.steering.models import ARCHITECTURES, build

BIASLESS = ("mistral", "qwen2", "phi3")
INPUTS = batch(prompts([5, 5]))


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in BIASLESS])
@torch.no_grad()
def test_a_baked_model_is_the_steered_model(architecture: str, tmp_path: Path):
    hf_model = build(architecture)
    steered = SteeredModel.of(hf_model)
    offsets = random_offsets(steered, 1)
    before = {name: tensor.clone() for name, tensor in hf_model.state_dict().items()}
    config = hf_model.config.to_dict()
    assert bake(hf_model, offsets, tmp_path) == tmp_path
    assert hf_model.config.to_dict() == config
    assert all(torch.equal(before[name], tensor) for name, tensor in hf_model.state_dict().items())
    with steered.plan([offsets] * 2):
        expected = hf_model(**INPUTS).logits
    baked = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(baked) is type(hf_model)
    torch.testing.assert_close(baked(**INPUTS).logits, expected, atol=1e-5, rtol=0)
    assert (hf_model(**INPUTS).logits - expected).abs().max() > 0.1
    assert model_fingerprint(baked) != steered.fingerprint  # the same offsets cannot be added twice


@pytest.mark.parametrize("architecture", BIASLESS)
def test_an_architecture_without_the_bias_is_refused(architecture: str, tmp_path: Path):
    hf_model = build(architecture)
    with pytest.raises(UnsupportedModelError, match="no bias on its attention output projections"):
        bake(hf_model, random_offsets(SteeredModel.of(hf_model), 1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_bias_cannot_say_is_refused(tmp_path: Path):
    hf_model, other = build(), build(seed=1)
    offsets = random_offsets(SteeredModel.of(hf_model), 1)
    with pytest.raises(IncompatibleOffsetsError, match="generated"):
        bake(hf_model, offsets.at("generated"), tmp_path)
    with pytest.raises(IncompatibleOffsetsError, match=model_fingerprint(other)):
        bake(other, offsets, tmp_path)
