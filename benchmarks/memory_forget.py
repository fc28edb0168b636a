"""Forgetting one of many users: what is left in the files, and how long it takes; beside a plain Chroma delete.

And beside mem0, where it is installed in an environment of its own. Run:
python -m benchmarks.memory_forget [--users 1000] [--turns 100] [--mem0 PYTHON]
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._report import write
from persona_align.memory.entry import Entry
from persona_align.memory.store import Memory
from persona_align.records import Turn
from tests.memory.canary import forms, scan

SEED, DIMENSION = 0, 384
VICTIM, TEXTS = "victim-zanzibar-991", [f"the canary number {i} of zanzibar sings {i * 7919}" for i in range(5)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--mem0", metavar="PYTHON", help="the Python of an environment that has mem0")
    parser.add_argument("--mem0-users", type=int, default=100, help="fewer, since it writes slowly")
    options = parser.parse_args()
    results = {"users": options.users, "turns_per_user": options.turns, "load_before": os.getloadavg()[0]}
    for arm in (ours, plain_chroma):
        with tempfile.TemporaryDirectory() as folder:
            results[arm.__name__] = arm(Path(folder) / "data", options.users, options.turns)
            print(arm.__name__, results[arm.__name__], flush=True)
    if options.mem0:
        results["mem0"] = mem0(options.mem0, options.mem0_users)
        print("mem0", results["mem0"])
    write("memory_forget", results, seed=SEED)


def ours(folder, users, turns):
    given = np.random.default_rng(SEED)
    with Memory.open(folder, encoder="benchmark", dimension=DIMENSION, space="benchmark") as memory:
        for u in range(users):
            memory.append(f"user-{u}", [_entry(given, f"user {u} turn {k}") for k in range(turns)])
        victim = [_entry(given, text) for text in TEXTS]
        memory.append(VICTIM, victim)
        needles = forms([VICTIM, *TEXTS], [entry.embedding for entry in victim])
        before = scan(folder, needles)
        sample = {u: memory.history(f"user-{u}") for u in range(0, users, max(1, users // 50))}
        begin = time.perf_counter()
        receipt = memory.forget(VICTIM)
        seconds = time.perf_counter() - begin
        after = scan(folder, needles)
        memory._cache.clear()
        intact = all(_same(history, memory.history(f"user-{u}")) for u, history in sample.items())
    return {
        "forget_seconds": round(seconds, 3),
        "hits_before": sum(before.values()),
        "hits_after": sum(after.values()),
        "hits_after_closing": sum(scan(folder, needles).values()),
        "bytes_scanned": _size(folder),
        "needles": len(needles),
        "erased": receipt.erased,
        "users_compared_bit_for_bit": len(sample),
        "others_intact": intact,
    }


def plain_chroma(folder, users, turns):
    import chromadb

    given = np.random.default_rng(SEED)
    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("memories", embedding_function=None)
    for u in range(users):
        _add(collection, f"user-{u}", [_entry(given, f"user {u} turn {k}") for k in range(turns)])
    victim = [_entry(given, text) for text in TEXTS]
    _add(collection, VICTIM, victim)
    needles = forms([VICTIM, *TEXTS], [entry.embedding for entry in victim])
    before = scan(folder, needles)
    begin = time.perf_counter()
    collection.delete(where={"user_id": VICTIM})
    seconds = time.perf_counter() - begin
    after = scan(folder, needles)
    client.close()
    return {
        "delete_seconds": round(seconds, 3),
        "hits_before": sum(before.values()),
        "hits_after": sum(after.values()),
        "forms_left": sorted({name for _, name in after}),
    }


def mem0(python, users):
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "benchmarks.memory_mem0", folder, str(users), "5"]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, env={"PYTHONPATH": str(root)})
    return json.loads(done.stdout.splitlines()[-1])


def _add(collection, user, entries):
    collection.add(
        ids=[f"{user}-{entry.record.id}" for entry in entries],
        embeddings=np.stack([entry.embedding for entry in entries]),
        documents=[entry.record.text for entry in entries],
        metadatas=[{"user_id": user}] * len(entries),
    )


def _entry(given, text):
    embedding = given.standard_normal(DIMENSION).astype(np.float32)
    return Entry(record=Turn(role="user", text=text), embedding=embedding / np.linalg.norm(embedding))


def _same(one, other):
    return [e.record for e in one.entries] == [e.record for e in other.entries] and np.array_equal(
        one.embeddings, other.embeddings
    )


def _size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
