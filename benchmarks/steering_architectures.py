"""Rows of a batch on every architecture: how far a mixed batch lies from each user alone, and from nobody steered.

python -m benchmarks.steering_architectures
"""

import argparse
from typing import Any

import torch

from benchmarks import _report
from persona_align.steering import SteeredModel
from tests.oracles.naive_steering import naive_greedy, naive_logits
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import ARCHITECTURES, build

BOUNDS = {"float32": 1e-5, "float64": 1e-10}
TOKENS = 16


@torch.no_grad()
def measure(architecture: str, dtype: torch.dtype, seed: int) -> dict[str, Any]:
    """Deviations are shares of the largest absolute logit of the unsteered batch."""
    hf_model = build(architecture, seed=seed, dtype=dtype)
    steered = SteeredModel.of(hf_model)
    rows = prompts([12, 12, 5, 9, 7, 12, 3, 8], seed)
    plan = [None if index % 2 else random_offsets(steered, seed + index) for index in range(len(rows))]
    inputs = batch(rows, "right")
    with steered.plan([None] * len(rows)):
        unsteered = hf_model(**inputs).logits
    with steered.plan(plan):
        mixed = hf_model(**inputs).logits
    with steered.plan(plan):
        together = new_tokens(hf_model, batch(rows), TOKENS)
    largest = unsteered.abs().max()
    alone, changed, same_bits = 0.0, float("inf"), True
    for index, (row, offsets) in enumerate(zip(rows, plan, strict=True)):
        own = mixed[index, : len(row)]
        alone = max(alone, float((own - naive_logits(hf_model, row, offsets)).abs().max() / largest))
        if offsets is None:
            same_bits &= torch.equal(mixed[index].view(torch.uint8), unsteered[index].view(torch.uint8))
        else:
            changed = min(changed, float((own - unsteered[index, : len(row)]).abs().max() / largest))
    return {
        "unsteered_rows_bit_equal": same_bits,
        "mixed_against_alone": alone,
        "steered_rows_change_at_least": round(changed, 3),
        "same_greedy_tokens": together
        == [naive_greedy(hf_model, row, one, TOKENS) for row, one in zip(rows, plan, strict=True)],
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results: dict[str, Any] = {"bounds": BOUNDS, "new_tokens": TOKENS}
    for name in BOUNDS:
        results[name] = {
            architecture: measure(architecture, getattr(torch, name), options.seed) for architecture in ARCHITECTURES
        }
    print(_report.write("steering_architectures", results, seed=options.seed).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
