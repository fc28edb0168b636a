"""What steering every layer costs: time of a steered batch over that of an unsteered one, in one run.

The arms take turns, and each of the steps counts with its fastest round: on a shared machine the rest is noise. On the
CPU the time is that of the one thread that computes, on a GPU that of the wall.

python -m benchmarks.steering_overhead                      # 8 rows, 64 new tokens, 32M parameters, on the CPU
python -m benchmarks.steering_overhead --device cuda --geometry llama-3-8b --batches 1 8 64
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, StoppingCriteria, StoppingCriteriaList

from benchmarks import _report
from persona_align.steering import ActivationOffsets, SteeredModel

GEOMETRIES: dict[str, dict[str, int]] = {
    "small": {
        "vocab_size": 8192,
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
    "llama-3-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
BOUND = 1.03


def build(geometry: str, device: str, seed: int) -> Any:
    """A random Llama: float32 on the CPU, bfloat16 on a GPU."""
    torch.manual_seed(seed)
    config = LlamaConfig(**GEOMETRIES[geometry], pad_token_id=0, bos_token_id=1, eos_token_id=None)
    with torch.device(device):
        return LlamaForCausalLM._from_config(config, dtype=torch.float32 if device == "cpu" else torch.bfloat16).eval()


def measure(hf_model: Any, batch: int, *, tokens: int, rounds: int, seed: int) -> dict[str, Any]:
    """Ratios of steered to unsteered: everybody unlike, everybody alike, and one plan of nobody."""
    steered = SteeredModel.of(hf_model)
    generator = torch.Generator().manual_seed(seed)
    users = [
        ActivationOffsets(
            0.05 * torch.randn(steered.geometry.shape, generator=generator), fingerprint=steered.fingerprint
        )
        for _ in range(batch)
    ]
    ids = torch.randint(2, hf_model.config.vocab_size, (batch, 32), generator=generator).to(hf_model.device)

    clock = Clock(hf_model.device)

    def generate() -> None:
        hf_model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([clock]),
        )

    def planned(rows: list[ActivationOffsets | None]) -> Callable[[], None]:
        def run() -> None:
            with steered.plan(rows):
                generate()

        return run

    arms: dict[str, Callable[[], None]] = {
        "unsteered": generate,
        "unlike": planned([*users]),
        "alike": planned([users[0]] * batch),
        "nobody": planned([None] * batch),
    }
    fastest = {name: torch.full((tokens,), torch.inf) for name in arms}
    order = list(arms)
    for index in range(rounds + 1):
        for name in order:
            clock.start()
            arms[name]()
            if index:  # the first round warms caches
                fastest[name] = torch.minimum(fastest[name], torch.tensor(clock.steps))
        order.append(order.pop(0))  # each arm comes first, last and between equally often
    seconds = {name: float(steps.sum()) for name, steps in fastest.items()}
    return {
        "seconds_unsteered": round(seconds["unsteered"], 4),
        **{f"ratio_{name}": round(seconds[name] / seconds["unsteered"], 4) for name in ("unlike", "alike", "nobody")},
        "ratio_unlike_to_alike": round(seconds["unlike"] / seconds["alike"], 4),
    }


class Clock(StoppingCriteria):
    """Notes how long each step of `generate` took; the plan's own set-up counts to the first."""

    def __init__(self, device: torch.device) -> None:
        self._now = time.perf_counter if device.type == "cuda" else time.thread_time
        self.start()

    def start(self) -> None:
        self.steps: list[float] = []
        self._last = self._now()

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        if input_ids.device.type == "cuda":
            torch.cuda.synchronize()
        now = self._now()
        self.steps.append(now - self._last)
        self._last = now
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--geometry", default="small", choices=GEOMETRIES)
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    hf_model = build(options.geometry, options.device, options.seed)
    results: dict[str, Any] = {
        "parameters_million": round(sum(p.numel() for p in hf_model.parameters()) / 1e6, 1),
        "geometry": options.geometry,
        "device": "cpu" if options.device == "cpu" else torch.cuda.get_device_name(options.device),
        "new_tokens": options.tokens,
        "rounds": options.rounds,
        "bound": BOUND,
        "batches": {
            str(batch): measure(hf_model, batch, tokens=options.tokens, rounds=options.rounds, seed=options.seed)
            for batch in options.batches
        },
    }
    suffix = "" if options.device == "cpu" else f"_{options.device.partition(':')[0]}"
    print(_report.write(f"steering_overhead{suffix}", results, seed=options.seed).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
