"""Appending one turn, beside a bare Chroma upsert of the same row into a collection of the same size.

The two alternate, so that a busy machine slows both; cpu is processor time of all threads. Run:
python -m benchmarks.memory_record [--turns 5000]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._report import write
from benchmarks.memory_scale import entry, milliseconds
from persona_align.memory.rows import row_of
from persona_align.memory.store import Memory

SEED, DIMENSION = 0, 384


def main():
    import chromadb

    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    given = np.random.default_rng(SEED)
    found = {"turns": options.turns, "users": options.turns // 100, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        client = chromadb.PersistentClient(f"{folder}/bare", settings=chromadb.Settings(anonymized_telemetry=False))
        bare = client.create_collection("records", embedding_function=None)
        with Memory.open(Path(folder) / "ours", encoder="b", dimension=DIMENSION, space="b") as memory:
            for u in range(options.turns // 100):
                entries = [entry(given, u, k) for k in range(100)]
                memory.append(f"user-{u}", entries)
                upsert(bare, f"user-{u}", entries)
            seconds, spent = {"append": [], "bare_upsert": []}, {"append": [], "bare_upsert": []}
            for i in range(options.repeats):
                user, new = f"user-{i % (options.turns // 100)}", [entry(given, i, 1000 + i)]
                for name, call in (("append", memory.append), ("bare_upsert", lambda *row: upsert(bare, *row))):
                    begin, busy = time.perf_counter(), time.process_time()
                    call(user, new)
                    seconds[name].append(time.perf_counter() - begin)
                    spent[name].append(time.process_time() - busy)
        client.close()
    for name, taken in seconds.items():
        found[name] = {
            "p50_ms": milliseconds(np.median(taken)),
            "p95_ms": milliseconds(np.quantile(taken, 0.95)),
            "cpu_p50_ms": milliseconds(np.median(spent[name])),
            "cpu_p95_ms": milliseconds(np.quantile(spent[name], 0.95)),
        }
    found["ratio_p50"] = round(found["append"]["p50_ms"] / found["bare_upsert"]["p50_ms"], 3)
    print(found)
    write("memory_record", found, seed=SEED)


def upsert(collection, user, entries):
    rows = [row_of(user, entry, 0) for entry in entries]
    collection.upsert(
        ids=[row.id for row in rows],
        embeddings=np.stack([row.embedding for row in rows]),
        documents=[entry.record.text for entry in entries],
        metadatas=[row.metadata for row in rows],
    )


if __name__ == "__main__":
    main()
