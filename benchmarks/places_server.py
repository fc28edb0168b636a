"""The server on the bundled model: 16 users at once, personal against plain; the page; 1,000 connections.

python -m benchmarks.places_server
"""

import argparse
import asyncio
import itertools
import shutil
import statistics
import time
from typing import Any

import httpx
import torch

from benchmarks import _report
from benchmarks._chat import bundled
from persona_align import PersonaAligner, Turn
from persona_align.testing import EchoChat
from persona_align_server import create_app
from persona_align_server.serve import running

USERS = 16
SAID = (
    "Please keep your answers short.",
    "I love a good joke.",
    "I plan everything ahead.",
    "I spend every weekend hiking in the mountains.",
)
ASKED = ("How do I", "When should I", "Is it hard to", "What do I need to", "How long does it take to")
TASKS = (
    "repair a leaking tap",
    "paint an old kitchen table",
    "grow tomatoes on a balcony",
    "pack for a week in the mountains",
    "write a letter to my landlord",
    "learn the basics of chess",
)
QUESTIONS = [f"{asked} {task}?" for task, asked in itertools.product(TASKS, ASKED)]
"""No user asks the same question twice: what is known already is neither encoded nor written again."""


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with PersonaAligner.open() as aligner:
        for user in range(USERS):
            aligner.record(f"user{user}", *(Turn(role="user", text=text) for text in SAID[user % 3 :]))
        with running(create_app(aligner, bundled(max_tokens=options.max_tokens))) as url:
            results: dict[str, Any] = {
                "users": USERS,
                "throughput": asyncio.run(throughput(url, options.rounds, options.turns)),
                "page": page(url),
            }
        with running(create_app(aligner, EchoChat())) as url:
            results["connections"] = asyncio.run(connections(url, options.connections))
    print(_report.write("places_server", results, seed=options.seed).read_text(encoding="utf-8"))


async def throughput(url: str, rounds: int, turns: int) -> dict[str, Any]:
    """Tokens and requests of 16 users, each of whom asks on as soon as the reply is there: personal, and plain.

    The arms alternate, and each round compares them with the plain model of the same round. Beside the time by the
    clock, the processor's time: on a shared machine only that can be relied on. It holds the client's share too.
    """
    arms = {"plain": {"mode": "off", "record": False}, "personal": {"record": False}, "recording": {}}
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=USERS)) as client:

        async def talk(user: int, persona: dict[str, Any], first: int) -> int:
            tokens = 0
            for turn in range(first, first + turns):
                question = QUESTIONS[(7 * user + turn) % len(QUESTIONS)]
                asked = {"messages": [{"role": "user", "content": question}], "user": f"user{user}", "persona": persona}
                answer = await client.post("/v1/chat/completions", json=asked)
                answer.raise_for_status()
                tokens += int(answer.json()["usage"]["completion_tokens"])
            return tokens

        if (rounds + 1) * turns > len(QUESTIONS):
            msg = f"{(rounds + 1) * turns} questions are wanted of each user, and there are {len(QUESTIONS)}"
            raise ValueError(msg)
        for number in range(rounds + 1):
            for name, persona in arms.items():
                clock, processor = time.perf_counter(), time.process_time()
                tokens = sum(await asyncio.gather(*(talk(user, persona, number * turns) for user in range(USERS))))
                clock, processor = time.perf_counter() - clock, time.process_time() - processor
                if number:  # the first round warms caches
                    rates[name].append(
                        {
                            "tokens_a_second": tokens / clock,
                            "requests_a_second": USERS * turns / clock,
                            "tokens_a_processor_second": tokens / processor,
                            "processor_ms_a_request": 1000 * processor / (USERS * turns),
                        }
                    )
    return {
        "rates": {
            name: {kind: round(statistics.median(rate[kind] for rate in made), 1) for kind in made[0]}
            for name, made in rates.items()
        },
        "to_plain": {name: _compared(rates[name], rates["plain"]) for name in arms if name != "plain"},
        "rounds": rounds,
        "turns": turns,
    }


def _compared(rates: list[dict[str, float]], plain: list[dict[str, float]]) -> dict[str, float]:
    """The median of the rounds' ratios."""
    ratios = [{kind: mine[kind] / its[kind] for kind in mine} for mine, its in zip(rates, plain, strict=True)]
    return {kind: round(statistics.median(ratio[kind] for ratio in ratios), 3) for kind in ratios[0]}


def page(url: str, loads: int = 7) -> dict[str, Any]:
    """Milliseconds until the page shows what is known of a user, in a real browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return {"skipped": "no chromium on this machine"}
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(loads):
            opened = browser.new_page()
            started = time.perf_counter()
            opened.goto(f"{url}/?user=user0")
            opened.locator("#readings li").first.wait_for()
            times.append(1000 * (time.perf_counter() - started))
            opened.close()
        browser.close()
    return {"first_ms": round(times[0]), "median_ms": round(statistics.median(times)), "loads": loads}


async def connections(url: str, count: int) -> dict[str, Any]:
    """So many clients that each ask for a personal reply at the same moment."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def ask(user: int) -> int:
            asked = {"messages": [{"role": "user", "content": "Hello"}], "user": f"user{user % USERS}"}
            return (await client.post("/v1/chat/completions", json=asked | {"persona": {"record": False}})).status_code

        started = time.perf_counter()
        answers = await asyncio.gather(*(ask(user) for user in range(count)))
        took = time.perf_counter() - started
    statuses = {str(status): answers.count(status) for status in sorted(set(answers))}
    return {"connections": count, "statuses": statuses, "seconds": round(took, 2)}


if __name__ == "__main__":
    main()
