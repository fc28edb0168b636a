"""A memory that is killed a thousand times while it writes, forgets and re-embeds: what is lost, crossed or half done;
and one of a single large shard, which is killed while it is filled.

The result is written after every fifty kills. Run: python -m benchmarks.memory_kill [--rounds 1000]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks._report import write

SEED, AT_ONCE = 0, 50
ROOT = Path(__file__).parent.parent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--large", type=int, default=60)
    options = parser.parse_args()
    counts, problems = Counter(), []
    for start in range(0, options.rounds, AT_ONCE):
        found = killed("killing", min(AT_ONCE, options.rounds - start), SEED + start)
        problems += found.pop("problems")
        counts.update(found)
        print(dict(counts), problems, flush=True)
        write("memory_kill", {**counts, "problems": problems}, seed=SEED)
    large = killed("killing_large", options.large, SEED)
    print(large)
    write("memory_kill", {**counts, "problems": problems, "while_a_large_shard_is_filled": large}, seed=SEED)
    sys.exit(bool(problems or large["problems"]))


def killed(module, times, seed):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"tests.memory.{module}", f"{folder}/memory", str(times), str(seed)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
