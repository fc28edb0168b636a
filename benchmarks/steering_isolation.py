"""Concurrent users of one model: how many replies carry another user's offsets.

1,000 generations of 32 users from 8 threads and an asyncio loop at once. The second half of the report is the same
traffic over a model whose steering is swapped for each request, as other tools do it.

    python -m benchmarks.steering_isolation
"""

import argparse
import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import _report
from persona_align.steering import ActivationOffsets, SteeredModel
from tests.oracles.bias_swapping import BiasSwapping
from tests.oracles.naive_steering import naive_greedy

Steer = Callable[[ActivationOffsets | None], AbstractContextManager[Any]]
PROMPT = [5, 17, 42, 8, 23, 31]
TOKENS = 8


def build(seed: int) -> Any:
    """A random Llama whose weights are large enough for every user to be answered differently."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=512, num_key_value_heads=2, initializer_range=0.3, pad_token_id=0, eos_token_id=None, **sizes
    )
    return LlamaForCausalLM(config).eval()


def reply(hf_model: Any) -> list[int]:
    """The tokens that follow the prompt."""
    ids = torch.tensor([PROMPT])
    written = hf_model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
    return written[0, len(PROMPT) :].tolist()


async def traffic(
    hf_model: Any,
    people: list[Any],
    expected: list[list[int]],
    steer: Steer,
    *,
    generations: int,
    threads: int,
    seed: int,
) -> dict[str, Any]:
    """Half of the requests from threads, half from tasks of this loop; who got whose answer."""
    requests = [random.Random(seed).randrange(len(people)) for _ in range(generations)]

    def in_thread(user: int) -> tuple[int, list[int]]:
        with steer(people[user]):
            return user, reply(hf_model)

    async def in_task(user: int, slots: asyncio.Semaphore) -> tuple[int, list[int]]:
        async with slots:
            with steer(people[user]):
                await asyncio.sleep(0)
                return user, await asyncio.to_thread(reply, hf_model)

    began = time.perf_counter()
    loop, half = asyncio.get_running_loop(), generations // 2
    slots = asyncio.Semaphore(threads)
    with ThreadPoolExecutor(threads) as pool:
        by_threads = [loop.run_in_executor(pool, in_thread, user) for user in requests[:half]]
        replies = await asyncio.gather(*by_threads, *(in_task(user, slots) for user in requests[half:]))
    wrong = [(user, text) for user, text in replies if text != expected[user]]
    others = sum(any(text == other for index, other in enumerate(expected) if index != user) for user, text in wrong)
    return {
        "generations": len(replies),
        "wrong": len(wrong),
        "wrong_from_threads": sum(text != expected[user] for user, text in replies[:half]),
        "wrong_from_tasks": sum(text != expected[user] for user, text in replies[half:]),
        "exactly_another_users_reply": others,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    hf_model = build(options.seed)
    steered = SteeredModel.of(hf_model)
    generator = torch.Generator().manual_seed(options.seed)
    people: list[ActivationOffsets | None] = [None]
    people += [
        ActivationOffsets(
            0.5 * torch.randn(steered.geometry.shape, generator=generator), fingerprint=steered.fingerprint
        )
        for _ in range(options.users - 1)
    ]
    expected = [naive_greedy(hf_model, PROMPT, offsets, TOKENS) for offsets in people]
    swapping = BiasSwapping(hf_model)
    ways: dict[str, Steer] = {"persona_align": lambda one: steered.plan([one]), "bias_swapping": swapping.steer}
    results: dict[str, Any] = {
        "users": options.users,
        "threads": options.threads,
        "different_replies_expected": len(set(map(tuple, expected))),
    }
    for name, steer in ways.items():
        results[name] = asyncio.run(
            traffic(
                hf_model,
                people,
                expected,
                steer,
                generations=options.generations,
                threads=options.threads,
                seed=options.seed,
            )
        )
    swapping.remove()
    print(_report.write("steering_isolation", results, seed=options.seed).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
