"""The server on the bundled model: 16 users at once, personal against plain; the page; 1,000 connections.

python -m benchmarks.places_server
"""

import argparse
import asyncio
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import torch

from benchmarks import _report
from benchmarks._chat import QUESTIONS, bundled
from persona_align import PersonaAligner, Turn
from persona_align.testing import EchoChat
from persona_align_server import create_app
from persona_align_server.serve import server

USERS = 16
SAID = ("Please keep your answers short.", "I love a good joke.", "I plan everything ahead.", "Explain it in detail.")


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with PersonaAligner.open() as aligner:
        for user in range(USERS):
            aligner.record(f"user{user}", *(Turn(role="user", text=text) for text in SAID[user % 3 :]))
        with _served(create_app(aligner, bundled(max_tokens=options.max_tokens))) as url:
            results: dict[str, Any] = {
                "users": USERS,
                "throughput": asyncio.run(throughput(url, options.rounds)),
                "page": page(url),
            }
        with _served(create_app(aligner, EchoChat())) as url:
            results["connections"] = asyncio.run(connections(url, options.connections))
    print(_report.write("places_server", results, seed=options.seed).read_text(encoding="utf-8"))


async def throughput(url: str, rounds: int) -> dict[str, Any]:
    """Tokens and requests a second of 16 users at once, in turns: personal, and the model as it is."""
    arms = {"plain": {"mode": "off", "record": False}, "personal": {"record": False}, "recording": {}}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    tokens: dict[str, list[int]] = {name: [] for name in arms}
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=USERS)) as client:

        async def ask(user: int, persona: dict[str, Any], turn: int) -> int:
            question = f"{QUESTIONS[(user + turn) % len(QUESTIONS)]}"
            asked = {"messages": [{"role": "user", "content": question}], "user": f"user{user}", "persona": persona}
            answer = await client.post("/v1/chat/completions", json=asked)
            answer.raise_for_status()
            return int(answer.json()["usage"]["completion_tokens"])

        for turn in range(rounds + 1):
            for name, persona in arms.items():
                started = time.perf_counter()
                made = await asyncio.gather(*(ask(user, persona, turn) for user in range(USERS)))
                if turn:  # the first round warms caches
                    seconds[name].append(time.perf_counter() - started)
                    tokens[name].append(sum(made))
    rates = {
        name: statistics.median(count / took for count, took in zip(tokens[name], seconds[name], strict=True))
        for name in arms
    }
    requests = {name: USERS / statistics.median(values) for name, values in seconds.items()}
    return {
        "tokens_a_second": {name: round(value, 1) for name, value in rates.items()},
        "requests_a_second": {name: round(value, 2) for name, value in requests.items()},
        "personal_to_plain": {
            "tokens": round(rates["personal"] / rates["plain"], 3),
            "requests": round(requests["personal"] / requests["plain"], 3),
        },
        "recording_to_plain": {
            "tokens": round(rates["recording"] / rates["plain"], 3),
            "requests": round(requests["recording"] / requests["plain"], 3),
        },
        "rounds": rounds,
    }


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


@contextmanager
def _served(app: Any) -> Iterator[str]:
    running = server(app, port=0, log_level="warning")
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(timeout=60)


if __name__ == "__main__":
    main()
