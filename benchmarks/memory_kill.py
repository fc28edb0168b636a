"""A memory that is killed a thousand times while it writes, forgets and re-embeds: what is lost, crossed or half done.

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
    options = parser.parse_args()
    counts, problems = Counter(), []
    for start in range(0, options.rounds, AT_ONCE):
        with tempfile.TemporaryDirectory() as folder:
            rounds = str(min(AT_ONCE, options.rounds - start))
            command = [sys.executable, "-m", "tests.memory.killing", f"{folder}/memory", rounds, str(SEED + start)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
        problems += found.pop("problems")
        counts.update(found)
        print(dict(counts), problems, flush=True)
        write("memory_kill", {**counts, "problems": problems}, seed=SEED)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
