"""What steering adds to a token: one addition a layer, and nothing that would make a GPU wait."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import StoppingCriteria, StoppingCriteriaList

from persona_align.steering import SteeredModel
from persona_align.steering.offsets import Positions
from tests.steering.helpers import batch, prompts, random_offsets
from tests.steering.models import build

WAITING = ("_local_scalar_dense", "nonzero", "_to_copy", "equal", "is_nonzero")


class Operations(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Tokens(StoppingCriteria):
    """Keeps how many operators each token took."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.taken: list[Counter[str]] = []

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        self.taken.append(self.operations.counts)
        self.operations.counts = Counter()
        return torch.zeros(len(input_ids), dtype=torch.bool)


@pytest.mark.parametrize("positions", ["all", "generated", "last_prompt_onward"])
def test_a_token_costs_one_addition_a_layer(positions: Positions):
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    inputs = batch(prompts([5, 3, 6, 4]))

    def taken(plan: list[Any]) -> list[Counter[str]]:
        with Operations() as operations, steered.plan(plan):
            tokens = Tokens(operations)
            options = {"max_new_tokens": 6, "do_sample": False, "stopping_criteria": StoppingCriteriaList([tokens])}
            hf_model.generate(**inputs, **options)
        return tokens.taken

    plain = taken([None] * 4)
    mixed = taken([random_offsets(steered, 1, positions=positions), None, random_offsets(steered, 2), None])
    for before, after in list(zip(plain, mixed, strict=True))[2:]:
        assert after - before == Counter({"add": steered.geometry.layers})
        assert not before - after
    # The pass after the prompt lays out each row's contribution once; still nothing waits for the device.
    assert all(mixed[1][name] == plain[1][name] for name in WAITING)


def test_a_users_second_request_computes_nothing_anew():
    hf_model = build()
    steered = SteeredModel.of(hf_model)
    offsets, inputs = random_offsets(steered, 1), batch(prompts([4]))
    calls = []
    for module in steered._modules:
        forward = module.forward
        module.forward = lambda *args, forward=forward: calls.append(1) or forward(*args)
    for expected in (6, 3, 3):  # three projections: once for the offsets, then once a pass
        calls.clear()
        with steered.plan([offsets]), torch.no_grad():
            hf_model(**inputs)
        assert len(calls) == expected
