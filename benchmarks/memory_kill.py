"""A memory that is killed a thousand times while it writes and forgets: what is lost, crossed or half-written.

Run: python benchmarks/memory_kill.py [--rounds 1000]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._report import write

SEED = 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.memory.killing", f"{folder}/memory", str(options.rounds), str(SEED)]
        root = Path(__file__).parent.parent
        done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
        results = json.loads(done.stdout)
    print(results)
    write("memory_kill", results, seed=SEED)
    sys.exit(bool(results["problems"]))


if __name__ == "__main__":
    main()
