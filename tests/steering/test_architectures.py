"""Every architecture: rows are independent, unsteered rows untouched, and the naive way gives the same."""

import pytest
import torch

from persona_align.steering import SteeredModel
from tests.oracles.naive_steering import naive_greedy, naive_logits
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import ARCHITECTURES, build

pytestmark = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_rows_are_independent(architecture: str, dtype: torch.dtype, tolerance: float):
    hf_model = build(architecture, dtype=dtype)
    steered = SteeredModel.of(hf_model)
    rows = prompts([7, 7, 4, 6])
    plan = [random_offsets(steered, 1), None, random_offsets(steered, 2), None]
    inputs = batch(rows, "right")
    with torch.no_grad():
        with steered.plan([None] * 4):
            unsteered = hf_model(**inputs).logits
        with steered.plan(plan):
            mixed = hf_model(**inputs).logits
    largest = unsteered.abs().max()
    for index, (row, offsets) in enumerate(zip(rows, plan, strict=True)):
        alone = naive_logits(hf_model, row, offsets)
        assert (mixed[index, : len(row)] - alone).abs().max() <= tolerance * largest
        if offsets is None:
            assert torch.equal(mixed[index].view(torch.uint8), unsteered[index].view(torch.uint8))
        else:
            assert (mixed[index] - unsteered[index]).abs().max() > 0.05 * largest


def test_a_mixed_batch_writes_what_each_user_gets_alone(architecture: str):
    hf_model = build(architecture)
    steered = SteeredModel.of(hf_model)
    rows = prompts([5, 3, 6])
    plan = [random_offsets(steered, 3), None, random_offsets(steered, 4, positions="last_prompt_onward")]
    with steered.plan(plan):
        together = new_tokens(hf_model, batch(rows), 6)
    assert together == [naive_greedy(hf_model, row, one, 6) for row, one in zip(rows, plan, strict=True)]
    assert together != [naive_greedy(hf_model, row, None, 6) for row in rows]


def test_detaching_leaves_nothing(architecture: str):
    hf_model = build(architecture)
    before = {name: tensor.clone() for name, tensor in hf_model.state_dict().items()}
    inputs = batch(prompts([5, 5]))
    with torch.no_grad():
        expected = hf_model(**inputs).logits
        steered = SteeredModel.of(hf_model)
        with steered.plan([random_offsets(steered, 1), None]):
            hf_model(**inputs)
        steered.detach()
        assert torch.equal(hf_model(**inputs).logits, expected)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in hf_model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in hf_model.state_dict().items())
