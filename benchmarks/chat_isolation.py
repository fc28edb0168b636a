"""32 users, 8 threads and an event loop, 1,000 generations: whose offsets a reply was made with.

The same traffic over a model whose steering is swapped globally (one bias for all, as the reference does it) shows
what the test would find. Run: python -m benchmarks.chat_isolation
"""

import argparse
import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from benchmarks import _report
from benchmarks._chat import QUESTIONS, bundled, random_users
from persona_align.models import ChatTransformers
from persona_align.steering import SteeredModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--oracle-generations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chat = bundled(max_tokens=24)
    users = random_users(chat, args.users, args.seed, scale=0.6)
    question = QUESTIONS[0]
    alone = [chat.invoke(question, offsets=offsets).text for offsets in users]
    plan = random.Random(args.seed).choices(range(args.users), k=args.generations)

    started = time.perf_counter()
    found = _traffic(plan, lambda user: _sync(chat, question, users[user], user), chat, users)
    seconds = time.perf_counter() - started

    swap = _global_swap(chat, question, users)
    quiet = [(user, swap(user)) for user in range(args.users)]
    swapped = _traffic(plan[: args.oracle_generations], swap, None, users)
    results = {
        "users": args.users,
        "different_replies_alone": len(set(alone)),
        "generations": len(found),
        "seconds": round(seconds, 1),
        **_judge(found, alone),
        "global_swap_one_at_a_time": {"generations": len(quiet), **_judge(quiet, alone)},
        "global_swap": {"generations": len(swapped), **_judge(swapped, alone)},
    }
    print(_report.write("chat_isolation", results, seed=args.seed).read_text(encoding="utf-8"))


def _traffic(
    plan: list[int], ask: Callable[[int], str], chat: ChatTransformers | None, users: list[Any]
) -> list[tuple[int, str]]:
    """Replies of eight threads and, where there is a chat model, an event loop beside them, that share the plan."""
    half = len(plan) if chat is None else len(plan) // 2

    async def tasks() -> list[tuple[int, str]]:
        gate = asyncio.Semaphore(8)

        async def one(user: int) -> tuple[int, str]:
            async with gate:
                if user % 2:
                    return user, (await chat.ainvoke(QUESTIONS[0], offsets=users[user])).text
                pieces = [chunk.text async for chunk in chat.astream(QUESTIONS[0], offsets=users[user])]
                return user, "".join(pieces)

        return list(await asyncio.gather(*map(one, plan[half:])))

    with ThreadPoolExecutor(9) as pool:
        loop = pool.submit(asyncio.run, tasks()) if chat is not None else None
        with ThreadPoolExecutor(8) as threads:
            found = list(zip(plan[:half], threads.map(ask, plan[:half]), strict=True))
        return found + (loop.result() if loop else [])


def _sync(chat: ChatTransformers, question: str, offsets: Any, user: int) -> str:
    if user % 2:
        return chat.invoke(question, offsets=offsets).text
    return "".join(chunk.text for chunk in chat.stream(question, offsets=offsets))


def _global_swap(chat: ChatTransformers, question: str, users: list[Any]) -> Callable[[int], str]:
    """Steering as one state of the whole model: set the user's, generate, and hope nobody else did."""
    steered = SteeredModel.of(chat.model)
    steered.detach()
    projections = [layer.self_attn.o_proj for layer in chat.model.model.layers]
    current: dict[str, torch.Tensor] = {}
    for index, projection in enumerate(projections):
        projection.register_forward_pre_hook(lambda _, args, index=index: (args[0] + current["offsets"][index],))
    tokenizer = chat.tokenizer

    def ask(user: int) -> str:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        current["offsets"] = torch.tensor(users[user].values).flatten(1)
        written = chat.model.generate(**inputs, do_sample=False, max_new_tokens=chat.max_tokens)
        return tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return ask


def _judge(found: list[tuple[int, str]], alone: list[str]) -> dict[str, int]:
    owners = {reply: user for user, reply in enumerate(alone)}
    return {
        "own_reply": sum(reply == alone[user] for user, reply in found),
        "another_users_reply": sum(reply != alone[user] and reply in owners for user, reply in found),
        "nobodys_reply": sum(reply not in owners for _, reply in found),
    }


if __name__ == "__main__":
    main()
