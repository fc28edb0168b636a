"""Captured head outputs, gradients with respect to offsets, and gradient checkpointing."""

import threading
from typing import Any

import pytest
import torch

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering import ActivationOffsets, SteeredModel
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import ARCHITECTURES, build

INPUTS = batch(prompts([5, 5]))


def _checkpoint(hf_model: Any, reentrant: bool) -> None:
    enable = getattr(hf_model, "activation_checkpointing_enable", None) or hf_model.gradient_checkpointing_enable
    enable({"use_reentrant": reentrant})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_captured_heads_are_what_enters_the_projections(architecture: str):
    hf_model = build(architecture)
    steered = SteeredModel.of(hf_model)
    leaving: list[torch.Tensor] = []
    handles = [module.register_forward_hook(lambda *call: leaving.append(call[2])) for module in steered._modules]
    with steered.capture() as captured:
        hf_model(**batch(prompts([3])))
        leaving.clear()
        hf_model(**INPUTS)
    for handle in handles:
        handle.remove()
    assert len(captured.heads) == steered.geometry.layers
    for heads, module, output in zip(captured.heads, steered._modules, leaving, strict=True):
        assert heads.shape == (2, 5, steered.geometry.heads, steered.geometry.head_dim)
        torch.testing.assert_close(module.forward(heads.flatten(2)), output)


@torch.no_grad()
def test_a_capture_sees_a_steered_pass_and_no_other_thread():
    steered = SteeredModel.of(build())
    with steered.capture() as plain:
        steered.model(**INPUTS)
    with steered.capture() as captured, steered.plan([random_offsets(steered, 1), None]):
        steered.model(**INPUTS)
    assert torch.equal(plain.heads[0], captured.heads[0])  # the first layer's heads come before any offset
    assert not torch.equal(plain.heads[1][0], captured.heads[1][0])
    assert torch.equal(plain.heads[2][1], captured.heads[2][1])
    with steered.capture() as captured:
        pass
    steered.model(**INPUTS)
    with pytest.raises(UnsupportedModelError, match="No complete forward pass"):
        _ = captured.heads


# Architectures whose norms stay in float64; Llama's goes through float32, too coarse for differences.
@pytest.mark.parametrize("architecture", ["opt", "gpt2", "falcon"])
def test_gradients_are_those_of_finite_differences(architecture: str):
    hf_model = build(architecture, dtype=torch.float64)
    steered = SteeredModel.of(hf_model)
    generator = torch.Generator().manual_seed(0)

    def score(tensor: torch.Tensor) -> torch.Tensor:
        with steered.inject(tensor):
            return hf_model(**INPUTS).logits[:, -1].log_softmax(-1)[:, 7].sum()

    at = 0.1 * torch.randn(2, *steered.geometry.shape, dtype=torch.float64, generator=generator)
    at.requires_grad_()
    gradient = torch.autograd.grad(score(at), at)[0]
    with torch.no_grad():
        for _ in range(3):
            towards = torch.randn(at.shape, dtype=torch.float64, generator=generator)
            slope = (score(at + 1e-5 * towards) - score(at - 1e-5 * towards)) / 2e-5
            torch.testing.assert_close((gradient * towards).sum(), slope, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_injecting_equals_planning():
    steered = SteeredModel.of(build())
    plan = [random_offsets(steered, 1), random_offsets(steered, 2)]
    values = torch.stack([torch.from_numpy(one.values.copy()) for one in plan])
    with steered.plan(plan):
        expected = steered.model(**INPUTS).logits
    with steered.inject(values):
        torch.testing.assert_close(steered.model(**INPUTS).logits, expected, atol=1e-5, rtol=0)
    with steered.inject(values[:1]):
        shared = steered.model(**INPUTS).logits
    with steered.plan(plan[:1]):
        torch.testing.assert_close(shared, steered.model(**INPUTS).logits, atol=1e-5, rtol=0)
    with pytest.raises(IncompatibleOffsetsError), steered.inject(values.repeat(2, 1, 1, 1)[:3]):
        steered.model(**INPUTS)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("how", ["plan", "inject"])
def test_gradient_checkpointing_changes_no_gradient(how: str, reentrant: bool):
    def gradients(checkpointing: bool) -> list[Any]:
        hf_model = build(dtype=torch.float64).train()
        steered = SteeredModel.of(hf_model)
        if checkpointing:
            _checkpoint(hf_model, reentrant)
            hf_model.enable_input_require_grads()
        tensor = torch.full((1, *steered.geometry.shape), 0.2, dtype=torch.float64, requires_grad=True)
        offsets = ActivationOffsets(tensor[0], fingerprint=steered.fingerprint)
        block = steered.plan([offsets, None]) if how == "plan" else steered.inject(tensor)
        with block:
            hf_model(**INPUTS, use_cache=False).logits.square().mean().backward()
        weights = [parameter.grad for parameter in hf_model.parameters()]
        return weights if how == "plan" else [*weights, tensor.grad]

    torch.testing.assert_close(gradients(True), gradients(False))


@pytest.mark.parametrize("how", ["plan", "inject"])
def test_a_backward_pass_in_a_thread_of_autograds_own_is_steered_too(how: str):
    # On a GPU autograd runs layers again in its own thread, where no context variable of ours is set.
    def gradient(in_thread: bool) -> torch.Tensor:
        hf_model = build(dtype=torch.float64).train()
        _checkpoint(hf_model, False)
        steered = SteeredModel.of(hf_model)
        offsets = random_offsets(steered, 1)
        tensor = torch.from_numpy(offsets.values.copy())[None]
        with steered.plan([offsets]) if how == "plan" else steered.inject(tensor):
            loss = hf_model(**INPUTS, use_cache=False).logits.square().mean()
            if in_thread:
                worker = threading.Thread(target=loss.backward)
                worker.start()
                worker.join()
            else:
                loss.backward()
        return hf_model.model.layers[0].mlp.up_proj.weight.grad

    torch.testing.assert_close(gradient(True), gradient(False))


def test_sampling_inside_a_capture_is_not_disturbed():
    steered = SteeredModel.of(build())
    expected = new_tokens(steered.model, INPUTS, 4)
    with steered.capture() as captured:
        assert new_tokens(steered.model, INPUTS, 4) == expected
    assert captured.heads[0].shape[1] == 1  # the last pass is that of the last token
