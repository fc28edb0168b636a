"""How memory scales: one folder that grows to 10,000, 100,000 and 1,000,000 turns, a hundred turns a user.

The embeddings are made up, and the numbers beside a turn have the shapes that scoring gives one of one sentence. Of
each step: wall time and processor time, since other work on the machine disturbs the first. Run:
python -m benchmarks.memory_scale [--turns 10000 100000 1000000] [--folder DIR]
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks._report import write
from persona_align.memory.entry import Entry
from persona_align.memory.retrieval import retrieve
from persona_align.memory.store import Memory
from persona_align.records import Turn

SEED, DIMENSION, PER_USER = 0, 384, 100
MADE_WITH = {"encoder": "benchmark", "dimension": DIMENSION, "space": "benchmark"}
START = datetime(2025, 1, 1, tzinfo=UTC)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--heavy", type=int, default=100_000, help="turns of one more user")
    parser.add_argument("--name", default="memory_scale")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    results = {"unit": "milliseconds unless named; cpu is processor time of all threads"}
    try:
        given, users = np.random.default_rng(SEED), 0
        for turns in options.turns:
            begin, spent = time.perf_counter(), time.process_time()
            with Memory.open(folder / "memory", **MADE_WITH) as memory:
                for u in range(users, turns // PER_USER):
                    memory.append(f"user-{u}", [entry(given, u, k) for k in range(PER_USER)])
            new, users = turns - users * PER_USER, turns // PER_USER
            found = {
                "ingested_per_second": round(new / (time.perf_counter() - begin)),
                "ingestion_cpu_per_turn": milliseconds((time.process_time() - spent) / new),
                **measure(folder / "memory", users, given),
            }
            results[str(turns)] = found
            print(turns, found, flush=True)
            write(options.name, results, seed=SEED)
        results["heavy_user"] = heavy(folder / "memory", options.heavy, given)
        print(results["heavy_user"], flush=True)
        write(options.name, results, seed=SEED)
    finally:
        shutil.rmtree(folder)


def measure(folder, users, given):
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    found = {"users": users, "bytes_per_turn": round(size / users / PER_USER), "load_before": os.getloadavg()[0]}
    begin, spent = time.perf_counter(), time.process_time()
    memory = Memory.open(folder, **MADE_WITH)
    memory.history("user-0")
    spent = time.process_time() - spent
    found["reopen"] = {"wall": milliseconds(time.perf_counter() - begin), "cpu": milliseconds(spent)}
    with memory:
        found["shards"] = len(memory.backend.folder.manifest["shards"])
        query = entry(given, 0, 0).embedding
        some = [f"user-{u}" for u in given.choice(users, min(users, 300), replace=False)]

        def ask(user):
            return retrieve(memory.history(user), query)

        found["retrieve_cold_process"] = timed(ask, some)
        found["retrieve_cached"] = timed(ask, some)
        memory._cache.clear()
        found["retrieve_uncached"] = timed(ask, some)
        rows = [(user, [entry(given, 0, PER_USER + i)]) for i, user in enumerate(some)]
        found["record_beyond_encoding"] = timed(lambda row: memory.append(*row), rows)
        few = given.choice(users, 5, replace=False)  # the users who come back often
        again = [(f"user-{few[i % 5]}", [entry(given, 1, 2 * PER_USER + i)]) for i in range(100)]
        found["record_beyond_encoding_busy_users"] = timed(lambda row: memory.append(*row), again)
        victims = [[f"victim-{u}", [entry(given, u, k) for k in range(PER_USER)]] for u in range(5)]
        for user, entries in victims:
            memory.append(user, entries)
        found["forget"] = timed(memory.forget, [user for user, _ in victims])
    found["resident_mb"] = round(resident())
    found["peak_resident_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    found["load_after"] = os.getloadavg()[0]
    return found


def heavy(folder, turns, given):
    """One user with very many records among all the others."""
    query = entry(given, 0, 0).embedding
    begin, spent = time.perf_counter(), time.process_time()
    with Memory.open(folder, **MADE_WITH) as memory:
        for start in range(0, turns, 1000):
            memory.append("heavy", [entry(given, 0, k) for k in range(start, start + 1000)])
        found = {
            "turns": turns,
            "ingested_per_second": round(turns / (time.perf_counter() - begin)),
            "ingestion_cpu_per_turn": milliseconds((time.process_time() - spent) / turns),
        }
        memory._cache.clear()
        found["history_uncached"] = timed(memory.history, ["heavy"])
        history = memory.history("heavy")
        found["retrieve_first"] = timed(lambda each: retrieve(each, query), [history])
        found["retrieve_again"] = timed(lambda each: retrieve(each, query), [history] * 5)
        rows = [[entry(given, 0, turns + i)] for i in range(50)]
        found["record_beyond_encoding"] = timed(lambda row: memory.append("heavy", row), rows)
        del history
        found["forget"] = timed(memory.forget, ["heavy"])
        found["left"] = len(memory.history("heavy"))
    found["peak_resident_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found


def entry(given, user, k):
    embedding = given.standard_normal(DIMENSION).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    numbers = {
        "expressiveness": np.full(1, 0.5, np.float16),
        "sentence_content": embedding[None].astype(np.float16),
        "claims": given.random((1, 192)).astype(np.float16),
        "subject": np.full((1, 2), 0.5, np.float16),
        "stance": np.zeros((1, 4), np.float16),
        "evidence": given.random((3, 37)).astype(np.float32),
    }
    words = " ".join(f"w{w}" for w in given.integers(0, 5000, 40))
    record = Turn(role="user", text=f"{user} {k} {words}", at=START + timedelta(minutes=k))
    return Entry(record=record, embedding=embedding, numbers=numbers, version="1")


def timed(call, arguments):
    seconds, spent = [], []
    for argument in arguments:
        begin, busy = time.perf_counter(), time.process_time()
        call(argument)
        seconds.append(time.perf_counter() - begin)
        spent.append(time.process_time() - busy)
    return {
        "p50": milliseconds(np.median(seconds)),
        "p95": milliseconds(np.quantile(seconds, 0.95)),
        "cpu_p50": milliseconds(np.median(spent)),
        "cpu_p95": milliseconds(np.quantile(spent, 0.95)),
        "n": len(seconds),
    }


def milliseconds(seconds):
    return round(float(seconds) * 1000, 3)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
