"""Compiled code: attached before or after, shared by threads, without a graph break."""

import copy
import threading
from typing import Any

import pytest
import torch
from transformers import CompileConfig

from persona_align.errors import UnsupportedModelError
from persona_align.steering import SteeredModel
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import build

pytestmark = pytest.mark.slow
INPUTS = batch(prompts([5, 7, 6, 4]))


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def _compile(hf_model: Any) -> Any:
    return torch.compile(hf_model, backend="aot_eager", fullgraph=True)


def _plan(steered: SteeredModel) -> list[Any]:
    return [
        random_offsets(steered, 1),
        None,
        random_offsets(steered, 2, positions="generated"),
        random_offsets(steered, 3, positions="last_prompt_onward"),
    ]


@pytest.mark.parametrize("attach", ["before", "after", "after a call"])
@torch.no_grad()
def test_compiled_code_is_steered_whenever_the_hooks_came(attach: str):
    hf_model = build()
    if attach == "before":
        SteeredModel.of(hf_model)
    compiled = _compile(hf_model)
    if attach == "after a call":
        compiled(**INPUTS)
    steered = SteeredModel.of(compiled)
    assert steered is SteeredModel.of(hf_model)
    unsteered = hf_model(**INPUTS).logits
    for plan in (_plan(steered), _plan(steered)[::-1]):
        with steered.plan(plan):
            eager = hf_model(**INPUTS).logits
        with steered.plan(plan):
            logits = compiled(**INPUTS).logits
        torch.testing.assert_close(logits, eager, atol=2e-5, rtol=0)
        assert (logits - unsteered).abs().amax((1, 2)).gt(0.1).tolist() == [
            one is not None and one.positions != "generated" for one in plan
        ]
    torch.testing.assert_close(compiled(**INPUTS).logits, unsteered, atol=2e-5, rtol=0)


def test_generate_that_compiles_its_static_cache_decoding():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    config = CompileConfig(backend="aot_eager", mode=None)
    config._compile_all_devices = True  # generate compiles by itself on a GPU only
    plan = _plan(steered)
    with steered.plan(plan):
        expected = new_tokens(hf_model, INPUTS, 6)
    for _ in range(2):
        with steered.plan(plan):
            written = new_tokens(hf_model, INPUTS, 6, cache_implementation="static", compile_config=config)
        assert hasattr(hf_model, "_compiled_call")
        assert written == expected


@torch.no_grad()
def test_threads_share_compiled_code_but_no_offsets():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    compiled = _compile(hf_model)
    compiled(**INPUTS)
    plans = [[random_offsets(steered, seed), None, None, random_offsets(steered, seed + 100)] for seed in range(3)]
    expected: list[torch.Tensor] = []
    for plan in plans:
        with steered.plan(plan):
            expected.append(hf_model(**INPUTS).logits)
    expected.append(hf_model(**INPUTS).logits)
    barrier, wrong = threading.Barrier(4), []

    def work(index: int) -> None:
        with torch.no_grad():
            for _ in range(5):
                barrier.wait()
                if index == 3:  # a caller who steers nobody
                    got = compiled(**INPUTS).logits
                else:
                    with steered.plan(plans[index]):
                        got = compiled(**INPUTS).logits
                if (got - expected[index]).abs().max() > 2e-5:
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gradients_pass_through_steered_compiled_code():
    hf_model = build(dtype=torch.float64)
    steered = SteeredModel.of(hf_model)
    gradients = []
    for call in (hf_model, _compile(hf_model)):
        hf_model.zero_grad()
        with steered.plan(_plan(steered)):
            call(**INPUTS).logits.square().mean().backward()
        gradients.append(hf_model.get_input_embeddings().weight.grad.clone())
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_detached_compiled_code_is_as_before():
    hf_model = build()
    clean = copy.deepcopy(hf_model)(**INPUTS).logits
    steered = SteeredModel.of(hf_model)
    compiled = _compile(hf_model)
    open_plan = steered.plan(_plan(steered))
    open_plan.__enter__()
    steered.detach()
    torch.testing.assert_close(compiled(**INPUTS).logits, clean, atol=2e-5, rtol=0)
    with pytest.raises(UnsupportedModelError, match="never met"):
        open_plan.__exit__(None, None, None)
    torch.testing.assert_close(compiled(**INPUTS).logits, clean, atol=2e-5, rtol=0)


@torch.no_grad()
def test_capture_and_injection_refuse_compiled_code():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    compiled = _compile(hf_model)
    with steered.capture(), pytest.raises(UnsupportedModelError, match="Compiled code"):
        compiled(**INPUTS)
    with steered.inject(torch.zeros(1, *steered.geometry.shape)), pytest.raises(UnsupportedModelError):
        compiled(**INPUTS)
