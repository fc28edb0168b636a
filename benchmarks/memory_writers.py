"""Sixty-four threads that write one record after another: into a folder and over HTTP to a Chroma server.

Run: python -m benchmarks.memory_writers [--writers 64] [--each 20]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from threading import Thread

import numpy as np

from benchmarks._report import write
from persona_align.memory.entry import Entry
from persona_align.memory.store import Memory
from persona_align.records import Turn
from tests.memory.conftest import ChromaServer

SEED, DIMENSION = 0, 384


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--each", type=int, default=20)
    options = parser.parse_args()
    results = {"writers": options.writers, "records_each": options.each, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        results["embedded"] = measure(Path(folder) / "memory", options.writers, options.each)
        server = ChromaServer(Path(folder) / "server").start()
        try:
            results["http"] = measure(server.url, options.writers, options.each)
        finally:
            server.stop()
    print(results)
    write("memory_writers", results, seed=SEED)


def measure(where, writers, each):
    given = np.random.default_rng(SEED)
    embeddings = given.standard_normal((writers, each, DIMENSION)).astype(np.float32)
    seconds, failures = [], []

    def work(memory, w):
        for i in range(each):
            entry = Entry(record=Turn(role="user", text=f"writer {w} turn {i}"), embedding=embeddings[w, i])
            begin = time.perf_counter()
            try:
                memory.append(f"user-{w}", [entry])
            except Exception as error:
                failures.append(repr(error))
            seconds.append(time.perf_counter() - begin)

    with Memory.open(where, encoder="benchmark", dimension=DIMENSION, space="benchmark") as memory:
        memory.append("warm", [Entry(record=Turn(role="user", text="warm"), embedding=embeddings[0, 0])])
        threads = [Thread(target=work, args=(memory, w)) for w in range(writers)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begin
        kept = sum(len(memory.history(f"user-{w}")) for w in range(writers))
    return {
        "records_per_second": round(writers * each / took, 1),
        "p50_ms": round(float(np.median(seconds)) * 1000, 1),
        "p95_ms": round(float(np.quantile(seconds, 0.95)) * 1000, 1),
        "kept": kept,
        "failures": failures[:3],
    }


if __name__ == "__main__":
    main()
