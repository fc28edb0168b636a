"""What the agent middleware costs: time added to a model call beyond encoding, and how long it stalls the event loop.

python -m benchmarks.places_agents
"""

import argparse
import asyncio
import statistics
import time
from typing import Any

import torch
from langchain.agents import create_agent

from benchmarks import _report
from benchmarks._chat import QUESTIONS, bundled
from persona_align import PersonaAligner, Turn
from persona_align.testing import EchoChat
from persona_align_agents import PersonaMiddleware

SAID = (
    "Please keep your answers short, I hate long explanations.",
    "I love a good joke in between.",
    "I go for a run every morning before work.",
    "Could you tell me how to repair a bicycle tyre?",
    "Order matters to me, I plan everything ahead.",
)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--records", type=int, default=200, help="records of each user")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with PersonaAligner.open() as aligner:
        for user in range(8):
            aligner.record(f"user{user}", *(_turn(user, i) for i in range(options.records)))
        results = {
            "records_of_a_user": options.records,
            "model_call": {mode: latency(aligner, mode, options.calls) for mode in ("pba", "ica")},
            "event_loop": asyncio.run(stall(aligner, max(4, options.calls // 20))),
        }
    print(_report.write("places_agents", results, seed=options.seed).read_text(encoding="utf-8"))


def latency(aligner: PersonaAligner, mode: str, calls: int) -> dict[str, Any]:
    """Milliseconds that `wrap_model_call` adds, of which the time in the encoder is told apart."""
    spent: list[tuple[float, float, float]] = []
    encoding = [0.0]
    encode = aligner.encoder.encode

    def timed(texts: Any) -> Any:
        started = time.perf_counter()
        try:
            return encode(texts)
        finally:
            encoding[0] += time.perf_counter() - started

    class Timed(PersonaMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            inside = [0.0]

            def model(planned: Any) -> Any:
                started = time.perf_counter()
                response = handler(planned)
                inside[0] = time.perf_counter() - started
                return response

            encoding[0] = 0.0
            wall, processor = time.perf_counter(), time.thread_time()
            response = super().wrap_model_call(request, model)
            whole = time.perf_counter() - wall - inside[0]
            spent.append((whole, whole - encoding[0], time.thread_time() - processor))
            return response

    aligner.encoder.encode = timed  # type: ignore[method-assign]
    try:
        agent = create_agent(EchoChat(), middleware=[Timed(aligner, mode, record=False)], context_schema=dict)
        for call in range(calls + 5):
            question = f"{QUESTIONS[call % len(QUESTIONS)]} ({call})"
            agent.invoke({"messages": [("human", question)]}, context={"user_id": f"user{call % 8}"})
    finally:
        aligner.encoder.encode = encode  # type: ignore[method-assign]
    columns = [[1000 * value for value in column] for column in zip(*spent[5:], strict=True)]
    return {
        name: {
            "p50_ms": round(statistics.median(column), 2),
            "p95_ms": round(statistics.quantiles(column, n=20)[18], 2),
        }
        for name, column in zip(("whole", "beyond_encoding", "processor"), columns, strict=True)
    }


async def stall(aligner: PersonaAligner, runs: int) -> dict[str, Any]:
    """How late a task that wants to run every millisecond is, while an agent streams and while nothing else runs."""
    agent = create_agent(bundled(max_tokens=64), middleware=[PersonaMiddleware(aligner)], context_schema=dict)

    async def stream(run: int) -> None:
        asked = {"messages": [("human", f"{QUESTIONS[run % len(QUESTIONS)]} ({run})")]}
        async for _ in agent.astream(asked, context={"user_id": f"user{run % 8}"}, stream_mode="messages"):
            pass

    await stream(0)
    late: list[float] = []
    watching = asyncio.create_task(_watch(late))
    for run in range(runs):
        await stream(run + 1)
    watching.cancel()
    idle: list[float] = []
    watching = asyncio.create_task(_watch(idle))
    await asyncio.sleep(2)
    watching.cancel()
    return {"runs": runs, "streaming": _late(late), "idle": _late(idle)}


async def _watch(late: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(1000 * (time.perf_counter() - started - 0.001))


def _late(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[int(0.99 * (len(ordered) - 1))], 2),
        "most_ms": round(ordered[-1], 2),
    }


def _turn(user: int, index: int) -> Turn:
    return Turn(role="user", text=f"{SAID[(user + index) % len(SAID)]} ({index})")


if __name__ == "__main__":
    main()
