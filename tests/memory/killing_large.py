"""One large shard whose process is killed again and again while it is filled, and a check of every vector.

Run as `python -m tests.memory.killing_large FOLDER KILLS SEED`; prints one JSON object. The larger a shard is, the more
of the time Chroma spends on putting its index on disk, where a killed process leaves a part of it.
"""

import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from persona_align.memory.entry import Entry
from persona_align.memory.index_map import is_interrupted
from persona_align.memory.store import Memory
from persona_align.records import Turn

BEFORE, EACH, DIMENSION = 10_000, 100, 32
MADE_WITH = {"encoder": "kill", "dimension": DIMENSION, "space": "kill"}


def main(folder, kills, seed):
    given = random.Random(seed)
    expected = {f"before-{i}" for i in range(BEFORE)}
    with Memory.open(folder, **MADE_WITH) as memory:
        memory.append("ada", [entry(key) for key in sorted(expected)])
    counts = {"kills": 0, "acknowledged": 0, "killed_while_an_index_was_written": 0}
    problems = []
    for life in range(kills + 1):
        command = [sys.executable, "-m", "tests.memory.killing_large", str(folder), f"{life}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            found = json.loads(child.stdout.readline() or '{"wrong": ["it did not open"], "ids": []}')
            lost = expected - set(found["ids"])
            if lost or found["wrong"]:
                problems.append(f"kill {life}: lost {sorted(lost)[:5]}, with a wrong vector {found['wrong'][:5]}")
            time.sleep(given.random() * 0.5)
            child.kill()
            done = [line.split() for line in child.stdout if line.endswith("\n")]
        expected = set(found["ids"]).union(*done)
        if life < kills:
            counts["kills"] += 1
            counts["acknowledged"] += EACH * len(done)
            indexes = {header.parent for header in folder.glob("shards/*/*/header.bin")}
            counts["killed_while_an_index_was_written"] += any(is_interrupted(index) for index in indexes)
    return {**counts, "problems": problems}


def live(folder, name):
    with Memory.open(folder, **MADE_WITH) as memory:
        entries = memory.history("ada").entries
        wrong = [kept.record.id for kept in entries if (kept.embedding != entry(kept.record.id).embedding).any()]
        print(json.dumps({"ids": [kept.record.id for kept in entries], "wrong": wrong}), flush=True)  # noqa: T201
        number = 0
        while True:
            keys = [f"{name}-{number}-{i}" for i in range(EACH)]
            memory.append("ada", [entry(key) for key in keys])
            print(*keys, flush=True)  # noqa: T201
            number += 1


def entry(key):
    embedding = np.frombuffer(hashlib.sha256(key.encode()).digest(), np.uint8).astype(np.float32) / 255
    return Entry(record=Turn(role="user", text=key, id=key), embedding=embedding)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        live(Path(sys.argv[1]), sys.argv[2])
    else:
        print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
