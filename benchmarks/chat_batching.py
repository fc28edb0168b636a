"""Sixteen users at once against one after another; and what a lone request waits for its first token.

Run: python -m benchmarks.chat_batching
"""

import argparse
import asyncio
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from benchmarks import _report
from benchmarks._chat import QUESTIONS, bundled, random_users
from persona_align.models import ChatTransformers

USERS = 16


def throughput(chat: ChatTransformers, repeats: int, seed: int) -> dict[str, Any]:
    """Requests a second of the same sixteen requests, served four ways; medians of interleaved runs."""
    users = random_users(chat, USERS, seed)
    requests = [(QUESTIONS[i % len(QUESTIONS)], offsets) for i, offsets in enumerate(users)]

    def one_after_another() -> list[str]:
        return [chat.invoke(question, offsets=offsets).text for question, offsets in requests]

    def threads() -> list[str]:
        with ThreadPoolExecutor(USERS) as pool:
            return list(pool.map(lambda request: chat.invoke(request[0], offsets=request[1]).text, requests))

    def tasks() -> list[str]:
        async def ask() -> list[Any]:
            return await asyncio.gather(*(chat.ainvoke(question, offsets=offsets) for question, offsets in requests))

        return [reply.text for reply in asyncio.run(ask())]

    def rows() -> list[str]:
        replies = chat.generate_rows([q for q, _ in requests], offsets=[o for _, o in requests])
        return [reply.text for reply in replies]

    ways = {"one_after_another": one_after_another, "threads": threads, "asyncio": tasks, "generate_rows": rows}
    expected = one_after_another()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    same = dict.fromkeys(ways, True)
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            replies = way()
            seconds[name].append(time.perf_counter() - started)
            same[name] &= replies == expected
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "requests": USERS,
        "max_tokens": chat.max_tokens,
        "seconds": {name: round(value, 4) for name, value in median.items()},
        "times_faster_than_one_after_another": {
            name: round(median["one_after_another"] / value, 2) for name, value in median.items()
        },
        "same_replies": same,
        "repeats": repeats,
    }


class _FirstToken(BaseStreamer):
    """Notes when the first new token is there."""

    def __init__(self) -> None:
        self.puts, self.at = 0, 0.0

    def put(self, value: torch.Tensor) -> None:  # noqa: ARG002
        self.puts += 1
        if self.puts == 2:  # the first is the prompt
            self.at = time.perf_counter()

    def end(self) -> None:
        return


def first_token(chat: ChatTransformers, repeats: int) -> dict[str, Any]:
    """Milliseconds to the first token of a lone request, from the same messages; medians of interleaved runs."""
    question = " ".join(QUESTIONS * 6)

    def plain() -> float:
        started = time.perf_counter()
        inputs = chat.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = _FirstToken()
        chat.model.generate(**inputs, do_sample=False, max_new_tokens=4, streamer=streamer)
        return streamer.at - started

    def ours() -> float:
        started = time.perf_counter()
        stream = chat.stream(question, max_tokens=4)
        next(stream)
        at = time.perf_counter()
        list(stream)
        return at - started

    def settle() -> None:
        time.sleep(0.01)  # the round that gave the last token is still returning

    for _ in range(5):
        plain(), ours(), settle()
    times: dict[str, list[float]] = {"plain_generate": [], "chat_stream": []}
    for _ in range(repeats):
        times["plain_generate"].append(plain())
        times["chat_stream"].append(ours())
        settle()
    paired = [b / a for a, b in zip(times["plain_generate"], times["chat_stream"], strict=True)]
    return {
        "prompt_tokens": len(chat.tokenizer(question)["input_ids"]),
        "milliseconds": {name: round(1000 * statistics.median(values), 3) for name, values in times.items()},
        "ratio_of_medians": round(
            statistics.median(times["chat_stream"]) / statistics.median(times["plain_generate"]), 4
        ),
        "median_of_ratios": round(statistics.median(paired), 4),
        "processor": _processor_time(chat, question, repeats),
        "repeats": repeats,
    }


def _processor_time(chat: ChatTransformers, question: str, repeats: int) -> dict[str, float]:
    """Milliseconds of processor time, of all threads, for a whole request of one token: what a busy machine hides."""

    def plain() -> None:
        inputs = chat.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        chat.model.generate(**inputs, do_sample=False, max_new_tokens=1)

    ways = {"plain_generate": plain, "chat_stream": lambda: list(chat.stream(question, max_tokens=1))}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.process_time()
            way()
            time.sleep(0.01)
            times[name].append(1000 * (time.process_time() - started))
    median = {name: round(statistics.median(values), 3) for name, values in times.items()}
    return {**median, "ratio": round(median["chat_stream"] / median["plain_generate"], 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="chat_batching")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chat = bundled(max_tokens=args.max_tokens)
    results = {
        "model": {"name": "bundled", "parameters": sum(p.numel() for p in chat.model.parameters())},
        "threads": args.threads,
        "load_average": os.getloadavg(),
        "first_token": first_token(chat, 40 * args.repeats),
        "throughput": throughput(chat, args.repeats, args.seed),
    }
    print(_report.write(args.name, results, seed=args.seed).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
