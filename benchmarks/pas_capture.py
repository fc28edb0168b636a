"""What it takes to learn a model's answers to statements once, and then to fit people: time and memory.

Random weights tell as much of time and memory as trained ones. The statements are the project's own, as many as people
answer in PAPI; the answers are random. Run on a GPU with the geometry of Llama-3-8B in bfloat16, or smaller on a CPU:

    python -m benchmarks.pas_capture
    python -m benchmarks.pas_capture --device cuda --geometry llama-3-8b
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import _report
from benchmarks.steering_overhead import GEOMETRIES, build
from persona_align.demo import load
from persona_align.demo.corpus.statements import read_statements
from persona_align.steering import ActivationSearch
from persona_align.steering.contexts import context_shifts
from persona_align.steering.progress import silent
from persona_align.steering.statements import capture_statements
from persona_align.steering.steered import SteeredModel

STATEMENTS = 120


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--geometry", default="small", choices=GEOMETRIES)
    parser.add_argument("--people", type=int, default=4, help="whom to optimise together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hf_model = build(options.geometry, options.device, options.seed)
    tokenizer = load()[1]
    own = [statement.text for statement in read_statements()]
    texts = [f"{text.rstrip('.')}{end}" for end in (".", ", usually.") for text in own][:STATEMENTS]
    answers = np.random.default_rng(options.seed).integers(1, 6, (1000, len(texts)))
    steered = SteeredModel.of(hf_model)
    watch = Watch(hf_model.device)
    settings = {"progress": silent}
    watch("warm-up", lambda: capture_statements(steered, tokenizer, texts[:4], batch=4, **settings))
    watch("capture of activations and gradients", lambda: capture_statements(steered, tokenizer, texts, **settings))
    watch("capture of the model's own people", lambda: context_shifts(steered, tokenizer, texts, **settings))
    search = watch(
        "all of it, and the shared matrices", lambda: ActivationSearch(hf_model, tokenizer, texts, **settings)
    )
    watch("fit of one person, linear", lambda: search.fit(answers[0]))
    watch("fit_many of 1000 people, linear", lambda: search.fit_many(answers))
    several = answers[: options.people]
    watch(f"fit_many of {len(several)} people, optimize", lambda: search.fit_many(several, method="optimize"))
    results: dict[str, Any] = {
        "device": watch.device_name,
        "geometry": options.geometry,
        "parameters_million": round(sum(p.numel() for p in hf_model.parameters()) / 1e6, 1),
        "statements": len(texts),
        "prompt_tokens": watch.tokens(search),
        "steps": watch.steps,
    }
    suffix = "" if options.device == "cpu" else f"_{options.device.partition(':')[0]}"
    print(_report.write(f"pas_capture{suffix}", results, seed=options.seed).read_text(encoding="utf-8"))


class Watch:
    """Times steps and notes the most memory of the device that each took beyond what the model holds."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(device) if self.on_gpu else "cpu"
        self.steps: dict[str, dict[str, float]] = {}

    def __call__(self, name: str, step: Callable[[], Any]) -> Any:
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        started = time.perf_counter()
        made = step()
        if self.on_gpu:
            torch.cuda.synchronize()
        self.steps[name] = {"seconds": round(time.perf_counter() - started, 4)}
        if self.on_gpu:
            self.steps[name]["peak_gb_beyond_before"] = round((torch.cuda.max_memory_allocated() - before) / 1e9, 3)
        print(name, self.steps[name], flush=True)
        return made

    @staticmethod
    def tokens(search: ActivationSearch) -> int:
        """Tokens of all prompts, both orders of the letters."""
        return sum(len(one.prompt) for asked in search._asked for one in asked.questions)


if __name__ == "__main__":
    main()
