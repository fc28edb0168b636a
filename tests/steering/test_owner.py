"""One owner of a model's hooks: idempotent, safe with copies and exceptions, never stale, never in the way."""

import copy
import gc
import io
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering import ActivationOffsets, SteeredModel
from tests.oracles.naive_steering import naive_greedy, naive_logits
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import build

ROW = prompts([6])[0]
INPUTS = batch([ROW, ROW])


def _hooks(hf_model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in hf_model.modules())


def test_a_model_has_one_owner():
    hf_model = build()
    with ThreadPoolExecutor(8) as pool:
        owners = set(pool.map(SteeredModel.of, [hf_model] * 16))
    assert len(owners) == 1
    steered = owners.pop()
    assert SteeredModel.of(steered) is steered
    assert _hooks(hf_model) == 4  # three projections and the stack
    assert steered.device == hf_model.device
    steered.detach()
    steered.detach()
    assert SteeredModel.of(hf_model) is not steered
    with pytest.raises(UnsupportedModelError, match="detached"), steered.plan([None]):
        pass


def test_an_owner_does_not_keep_its_model_alive():
    hf_model = build()
    steered = weakref.ref(SteeredModel.of(hf_model))
    gc.collect()
    assert steered() is SteeredModel.of(hf_model)
    model = weakref.ref(hf_model)
    del hf_model
    gc.collect()
    assert model() is None
    assert steered() is None


@torch.no_grad()
def test_a_copy_of_a_model_is_another_model():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    offsets = random_offsets(steered, 1)
    unsteered = hf_model(**INPUTS).logits
    stored = io.BytesIO()
    torch.save(hf_model, stored)
    stored.seek(0)
    for twin in (copy.deepcopy(hf_model), torch.load(stored, weights_only=False)):
        with steered.plan([offsets]):
            assert torch.equal(twin(**INPUTS).logits, unsteered)
            assert not torch.equal(hf_model(**INPUTS).logits, unsteered)
        other = SteeredModel.of(twin)
        assert other is not steered
        with other.plan([offsets]):
            assert not torch.equal(twin(**INPUTS).logits, unsteered)
            assert torch.equal(hf_model(**INPUTS).logits, unsteered)


@pytest.mark.parametrize("where", ["embed_tokens", "layers.0.self_attn.o_proj", "layers.1", "layers.2.mlp", "norm"])
@torch.no_grad()
def test_an_exception_in_any_layer_leaves_the_model_as_it_was(where: str):
    hf_model = build()
    unsteered = hf_model(**INPUTS).logits
    steered = SteeredModel.of(hf_model)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    handle = hf_model.model.get_submodule(where).register_forward_pre_hook(fail)
    for block in (steered.plan([random_offsets(steered, 1), None]), steered.capture()):
        with pytest.raises(RuntimeError, match="out of memory"), block:
            hf_model(**INPUTS)
    handle.remove()
    assert torch.equal(hf_model(**INPUTS).logits, unsteered)
    with steered.plan([None, random_offsets(steered, 1)]):
        assert torch.equal(hf_model(**INPUTS).logits[0], unsteered[0])
    steered.detach()
    assert _hooks(hf_model) == 0
    assert torch.equal(hf_model(**INPUTS).logits, unsteered)


def test_what_does_not_fit_is_refused_before_the_forward_pass():
    steered, other = SteeredModel.of(build()), SteeredModel.of(build(seed=1))
    calls = []
    handle = steered.model.model.embed_tokens.register_forward_hook(lambda *_: calls.append(1))
    both = f"{other.fingerprint}.*{steered.fingerprint}"
    with pytest.raises(IncompatibleOffsetsError, match=both), steered.plan([None, random_offsets(other, 1)]):
        steered.model(**INPUTS)
    wrong = ActivationOffsets(torch.ones(3, 4, 8), fingerprint=steered.fingerprint)
    with pytest.raises(IncompatibleOffsetsError, match="3 x 4 x 8"), steered.plan([wrong, None]):
        steered.model(**INPUTS)
    with pytest.raises(TypeError, match="ActivationOffsets or None"), steered.plan([torch.ones(3, 4, 16)]):
        steered.model(**INPUTS)
    with pytest.raises(ValueError, match="one entry for every row"), steered.plan([]):
        steered.model(**INPUTS)
    for tensor in (torch.ones(1, 3, 4, 8), torch.ones(3, 4, 16), torch.full((1, 3, 4, 16), torch.nan)):
        with pytest.raises(IncompatibleOffsetsError), steered.inject(tensor):
            steered.model(**INPUTS)
    handle.remove()
    assert not calls


def test_a_plan_that_no_layer_met_says_so():
    steered, other = SteeredModel.of(build()), build(seed=1)
    with pytest.raises(UnsupportedModelError, match="never met this plan"), steered.plan([random_offsets(steered, 1)]):
        other(**INPUTS)
    with pytest.raises(KeyError), steered.plan([random_offsets(steered, 1)]):
        raise KeyError
    skipping = build()
    steered = SteeredModel.of(skipping)
    attention = skipping.model.layers[1].self_attn

    def fused(*args: object, **kwargs: object) -> object:
        projection, attention.o_proj = attention.o_proj, nn.Identity()
        try:
            heads, weights = type(attention).forward(attention, *args, **kwargs)
        finally:
            attention.o_proj = projection
        return torch.nn.functional.linear(heads, projection.weight), weights

    attention.forward = fused
    plan = steered.plan([random_offsets(steered, 1)])
    with pytest.raises(UnsupportedModelError, match=r"layers \[1\] never met"), plan, torch.no_grad():
        skipping(**INPUTS)


@torch.no_grad()
def test_contributions_follow_the_weights():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    offsets = random_offsets(steered, 1)
    for change in (lambda p: p.mul_(2), lambda p: p.add_(0.1), lambda p: p.zero_()):
        with steered.plan([offsets, None]):
            hf_model(**INPUTS)
        change(hf_model.model.layers[0].self_attn.o_proj.weight)
        with steered.plan([offsets, None]):
            logits = hf_model(**INPUTS).logits[0]
        torch.testing.assert_close(logits, naive_logits(hf_model, ROW, offsets), atol=2e-5, rtol=0)
    hf_model.double()
    with steered.plan([offsets, None]):
        logits = hf_model(**INPUTS).logits[0]
    torch.testing.assert_close(logits, naive_logits(hf_model, ROW, offsets), atol=1e-10, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_low_precision_and_autocast(dtype: torch.dtype):
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    offsets = random_offsets(steered, 1)
    exact = naive_logits(hf_model, ROW, offsets)
    with torch.autocast("cpu", dtype):
        with steered.plan([None, None]):
            unsteered = hf_model(**INPUTS).logits
        with steered.plan([offsets, None]):
            cast = hf_model(**INPUTS).logits
    assert torch.equal(cast[1], unsteered[1])
    hf_model.to(dtype)
    with steered.plan([offsets, None]):
        low = hf_model(**INPUTS).logits
    for logits in (cast[0], low[0]):
        assert (logits.float() - exact).abs().max() < 0.05 * exact.abs().max()
        assert (logits.float() - unsteered[0]).abs().max() > 0.2 * exact.abs().max()


class PackedLinear(nn.Module):
    """A projection with eight-bit weights and nothing that looks like a weight in floating point."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("packed", (linear.weight.detach() / scale).round().to(torch.int8))
        self.scale = scale

    def forward(self, entering: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(entering, self.packed.to(entering.dtype) * self.scale.to(entering.dtype))


@torch.no_grad()
def test_quantised_projections_are_called_and_not_read():
    hf_model = build()
    for layer in hf_model.model.layers:
        layer.self_attn.o_proj = PackedLinear(layer.self_attn.o_proj)
    steered = SteeredModel.of(hf_model)
    offsets = random_offsets(steered, 1)
    with steered.plan([offsets, None]):
        logits = hf_model(**INPUTS).logits
    torch.testing.assert_close(logits[0], naive_logits(hf_model, ROW, offsets), atol=2e-5, rtol=0)
    torch.testing.assert_close(logits[1], naive_logits(hf_model, ROW, None), atol=2e-5, rtol=0)


class Elsewhere(nn.Module):
    """A projection on a device of its own, which moves what it is given there and back, as accelerate's hooks do."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.held = linear.weight.detach()
        self.weight = nn.Parameter(torch.empty_like(linear.weight, device="meta"))

    def forward(self, entering: torch.Tensor) -> torch.Tensor:
        assert not entering.is_meta
        return nn.functional.linear(entering, self.held.to(entering.dtype))


@torch.no_grad()
def test_offloaded_weights_that_lie_on_no_device():
    hf_model = build()
    expected = naive_logits(hf_model, ROW, offsets := random_offsets(SteeredModel.of(hf_model), 1))
    SteeredModel.of(hf_model).detach()
    for layer in hf_model.model.layers:
        layer.self_attn.o_proj = Elsewhere(layer.self_attn.o_proj)
    steered = SteeredModel.of(hf_model)
    again = ActivationOffsets(offsets.values, fingerprint=steered.fingerprint)
    with steered.plan([again, None]):
        torch.testing.assert_close(hf_model(**INPUTS).logits[0], expected, atol=2e-5, rtol=0)


@pytest.mark.slow
def test_an_adapter_around_the_model():
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():  # peft calls names that transformers has deprecated
        warnings.simplefilter("ignore", FutureWarning)
        config = peft.LoraConfig(r=4, target_modules=["o_proj", "q_proj"], init_lora_weights=False)
        adapted = peft.get_peft_model(build(), config).eval()
    steered, rows = SteeredModel.of(adapted), prompts([6, 4])
    plan = [random_offsets(steered, 1, positions="last_prompt_onward"), random_offsets(steered, 2)]
    with steered.plan(plan):
        written = new_tokens(adapted, batch(rows), 6, prefill_chunk_size=5)
    assert written == [naive_greedy(adapted, row, one, 6) for row, one in zip(rows, plan, strict=True)]
    assert written != [naive_greedy(adapted, row, None, 6) for row in rows]


def test_weights_that_lie_on_disk(tmp_path: Path):
    accelerate = pytest.importorskip("accelerate")
    hf_model = build()
    offsets = random_offsets(SteeredModel.of(hf_model), 1)
    expected = naive_greedy(hf_model, ROW, offsets, 6)
    SteeredModel.of(hf_model).detach()
    accelerate.disk_offload(hf_model, tmp_path, execution_device="cpu")
    steered = SteeredModel.of(hf_model)
    with steered.plan([ActivationOffsets(offsets.values, fingerprint=steered.fingerprint)]):
        assert new_tokens(hf_model, batch([ROW]), 6) == [expected]


def test_inference_mode_and_back():
    with torch.inference_mode():
        hf_model = build()
    steered = SteeredModel.of(hf_model)
    plan = [random_offsets(steered, 1), None]
    with steered.plan(plan), torch.inference_mode():
        expected = hf_model(**INPUTS).logits
    with torch.inference_mode(), steered.plan(plan):
        assert torch.equal(hf_model(**INPUTS).logits, expected)
    trained = build()
    with torch.inference_mode(), SteeredModel.of(trained).plan(plan):
        trained(**INPUTS)
    with SteeredModel.of(trained).plan(plan):
        trained(**INPUTS).logits.sum().backward()
    assert trained.lm_head.weight.grad is not None


@torch.no_grad()
def test_contributions_are_kept_within_a_bound():
    from persona_align.steering.contributions import Contributions
    from persona_align.steering.projections import find_projections

    hf_model = build()
    modules = find_projections(hf_model).modules
    kept = Contributions(modules, dtype=torch.float32, limit=3 * 3 * 32 * 4)
    everyone = [random_offsets(SteeredModel.of(hf_model), seed) for seed in range(6)]
    first = kept.of(everyone[0])
    assert kept.of(everyone[0]) is first
    for offsets in everyone:
        kept.of(offsets)
        assert kept.nbytes <= 3 * 3 * 32 * 4
    assert kept.of(everyone[5]) is kept.of(everyone[5])
    assert kept.of(everyone[0]) is not first
    assert all(torch.equal(one, two) for one, two in zip(kept.of(everyone[0]), first, strict=True))


def test_plans_of_two_threads_run_at_the_same_time():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    inside = threading.Barrier(2, timeout=20)  # breaks unless both threads are in a forward pass at once
    hf_model.model.layers[1].mlp.register_forward_hook(lambda *_: inside.wait() and None)

    def run(seed: int) -> None:
        with steered.plan([random_offsets(steered, seed)]), torch.no_grad():
            hf_model(**INPUTS)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
