"""Five traits inferred from real people's answers said as chat, against their measured scores."""

import argparse
import os
from pathlib import Path

from benchmarks._report import write
from persona_align.evaluation.papi_chat import run

DATA = Path(os.environ.get("PERSONA_ALIGN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=None)
    given = parser.parse_args()
    results = run(DATA, people=given.people, seed=given.seed)
    print(results["correlation"], results["baselines"])
    print(write("inference_papi_chat", results, seed=given.seed))


if __name__ == "__main__":
    main()
