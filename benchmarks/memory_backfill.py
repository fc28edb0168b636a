"""Many users' histories through `persona-align backfill`, with one and with two workers that encode.

The time is that of the whole command; what starting Ray and the encoders takes of it is measured with one user.
Run: python -m benchmarks.memory_backfill [--users 200] [--turns 10]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._report import write

SEED = 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    results = {"users": options.users, "turns_per_user": options.turns, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2):
            start, _ = backfilled(Path(folder), 1, options.turns, workers)
            seconds, told = backfilled(Path(folder), options.users, options.turns, workers)
            results[f"{workers} workers"] = {
                "seconds": round(seconds, 1),
                "of_these_starting": round(start, 1),
                "users_per_second": round(options.users / seconds, 2),
                "users_per_second_once_started": round((options.users - 1) / max(seconds - start, 1e-9), 2),
                "records": told["new"],
            }
            print(results, flush=True)
    write("memory_backfill", results, seed=SEED)


def backfilled(folder, users, turns, workers):
    given = np.random.default_rng(SEED)
    export = folder / "chats.jsonl"
    with export.open("w") as file:
        for u in range(users):
            said = [" ".join(f"word{w}" for w in given.integers(0, 2000, 12)) for _ in range(turns)]
            messages = [{"role": "user", "content": text} for text in said]
            file.write(json.dumps({"user_id": f"user-{u}", "messages": messages}) + "\n")
    store = folder / f"memory-{users}-{workers}"
    arguments = ["backfill", str(export), "--workers", str(workers), "--store", str(store), "--json"]
    begin = time.perf_counter()
    command = [sys.executable, "-c", "from persona_align.cli import main; main()", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begin, json.loads(done.stdout)


if __name__ == "__main__":
    main()
