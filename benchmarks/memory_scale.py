"""How memory scales: 10,000, 100,000 and 1,000,000 turns with made-up embeddings, a hundred turns a user.

Run: python benchmarks/memory_scale.py [--turns 10000 100000] [--encoder-ms] [--folder DIR]
"""

import argparse
import gc
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
from persona_align.memory.store import Memory
from persona_align.records import Turn

SEED, DIMENSION, PER_USER = 0, 384, 100
MADE_WITH = {"encoder": "benchmark", "dimension": DIMENSION, "space": "benchmark"}
START = datetime(2025, 1, 1, tzinfo=UTC)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--name", default="memory_scale")
    options = parser.parse_args()
    results = {}
    for turns in options.turns:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            results[str(turns)] = measure(folder / "memory", turns)
            print(turns, results[str(turns)], flush=True)
        finally:
            shutil.rmtree(folder)
        write(options.name, {"unit": "milliseconds unless named", **results}, seed=SEED)


def measure(folder, turns):
    given = np.random.default_rng(SEED)
    users = turns // PER_USER
    found = {"load_before": os.getloadavg()[0]}
    begin = time.perf_counter()
    with Memory.open(folder, **MADE_WITH) as memory:
        for u in range(users):
            memory.append(f"user-{u}", [entry(given, u, k) for k in range(PER_USER)])
        found["ingested_per_second"] = round(turns / (time.perf_counter() - begin))
        found["shards"] = len(memory.backend.folder.manifest["shards"])
    found["bytes_per_turn"] = round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / turns)
    gc.collect()
    begin = time.perf_counter()
    memory = Memory.open(folder, **MADE_WITH)
    memory.history("user-0")
    found["reopen"] = milliseconds(time.perf_counter() - begin)
    with memory:
        some = [f"user-{u}" for u in given.choice(users, min(users, 300), replace=False)]
        found["history_first_touch"] = timed(memory.history, some)
        memory._cache.clear()
        found["history_uncached"] = timed(memory.history, some)
        found["history_cached"] = timed(memory.history, some)
        rows = [(user, [entry(given, 0, PER_USER + i)]) for i, user in enumerate(some)]
        found["record_beyond_encoding"] = timed(lambda row: memory.append(*row), rows)
        found["forget"] = timed(memory.forget, some[:3])
        memory.append("heavy", [entry(given, 1, k) for k in range(2000)])
    found["resident_mb"] = round(resident())
    found["peak_resident_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    found["load_after"] = os.getloadavg()[0]
    return found


def entry(given, user, k):
    embedding = given.standard_normal(DIMENSION).astype(np.float32)
    numbers = {"evidence": given.random(90).astype(np.float32), "expressiveness": np.float32(0.5)}
    words = " ".join(f"w{w}" for w in given.integers(0, 5000, 40))
    record = Turn(role="user", text=f"{user} {k} {words}", at=START + timedelta(minutes=k))
    return Entry(record=record, embedding=embedding / np.linalg.norm(embedding), numbers=numbers, version="1")


def timed(call, arguments):
    seconds = []
    for argument in arguments:
        begin = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - begin)
    return {"p50": milliseconds(np.median(seconds)), "p95": milliseconds(np.quantile(seconds, 0.95)), "n": len(seconds)}


def milliseconds(seconds):
    return round(float(seconds) * 1000, 3)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
