"""Whether any combination of preferences stays fluent at the default strength, alone and beside the words of PBA.

Combinations and messages are others than those that the basis was calibrated on. Ratios are of perplexity under the
unsteered model, steered over unsteered. Run it after every fit, then `python docs/figures.py` draws it.

python -m benchmarks.steering_combinations
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks import _report
from persona_align import PreferenceVector, demo
from persona_align.steering import SteeredModel
from persona_align.steering.calibration import pole_sets
from persona_align.steering.prompting import rendered, token_ids
from persona_align.steering.strength import FLUENCY_BOUND, FluencyPoint, fluency
from persona_align.steering.teacher import ORDINARY_MESSAGES, told

SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
STRENGTHS = (0.5, 1.0, 1.5, 2.0)
SHARES = (0.25, 0.5, 0.75, 1.0)
LINES = 3


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=24, help="combinations of each size")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--seed", type=int, default=101)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = demo.load()
    basis = demo.shipped_basis(model)
    steered = SteeredModel.of(model)
    rng = np.random.default_rng(options.seed)
    prompts = [_ids(tokenizer, message) for message in ORDINARY_MESSAGES[2::4]]

    def measure(asked: Sequence[Any], directions: Sequence[Any], strength: float) -> list[FluencyPoint]:
        return fluency(steered, tokenizer, asked, directions, strength, max_tokens=options.max_tokens)

    sizes: dict[str, Any] = {}
    for size in (size for size in SIZES if size <= len(basis.dimensions)):
        people = [_person(basis, chosen, rng) for chosen in pole_sets(basis.poles, size, options.sets, rng)]
        directions = [basis.offsets(person).values for person in people]
        sizes[str(size)] = {str(strength): _told(measure(prompts, directions, strength)) for strength in STRENGTHS}
    beside: dict[str, list[FluencyPoint]] = {str(share): [] for share in (0.0, *SHARES)}
    for chosen in pole_sets(basis.poles, min(4, len(basis.dimensions)), options.sets, rng):
        direction = basis.offsets(_person(basis, chosen, rng)).values
        lines = [f"{basis.poles[row][2]} (strongly)" for row in chosen[:LINES]]
        asked = [_ids(tokenizer, told(lines, message)) for message in ORDINARY_MESSAGES[2::4]]
        for share, points in beside.items():
            points += measure(asked, [direction], float(share))
    results = {
        "bound": FLUENCY_BOUND,
        "messages": len(prompts),
        "sets_of_each_size": options.sets,
        "limit": round(basis.limit, 3),
        "preferences": sizes,
        "median_at_the_default": max(entry["1.0"]["median"] for entry in sizes.values()),
        "within_the_bound_at_the_default": round(
            1 - float(np.mean([entry["1.0"]["over_the_bound"] for entry in sizes.values()])), 3
        ),
        "worst_at_the_default": max(entry["1.0"]["worst"] for entry in sizes.values()),
        "beside_words": {share: _told(points) for share, points in beside.items()},
    }
    print(_report.write("steering_combinations", results, seed=options.seed).read_text(encoding="utf-8"))


def _person(basis: Any, chosen: Sequence[int], rng: np.random.Generator) -> PreferenceVector:
    """Somebody with these poles: half of all people in full, the others as strongly as it comes."""
    full = rng.random() < 0.5
    weights = [1.0 if full else float(rng.uniform(0.3, 1.0)) for _ in chosen]
    return PreferenceVector.of(
        {basis.poles[row][0]: basis.poles[row][1] * weight for row, weight in zip(chosen, weights, strict=True)}
    )


def _ids(tokenizer: Any, message: str) -> list[int]:
    return token_ids(tokenizer, rendered(tokenizer, [{"role": "user", "content": message}]))


def _told(points: Sequence[FluencyPoint]) -> dict[str, float]:
    ratios = [point.perplexity_ratio for point in points]
    return {
        "median": round(float(np.median(ratios)), 3),
        "worst": round(max(ratios), 3),
        "over_the_bound": round(float(np.mean([ratio > FLUENCY_BOUND for ratio in ratios])), 3),
        "changed": round(float(np.mean([point.changed for point in points])), 3),
    }


if __name__ == "__main__":
    main()
