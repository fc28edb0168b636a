"""PrefEval's retrieval among real distractors, all cases: `python -m benchmarks.retrieval_prefeval [DATA]`."""

import os
import sys
from pathlib import Path

from benchmarks._report import write
from persona_align.evaluation import prefeval

DATA = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PERSONA_ALIGN_DATA", "../shared/data"))

if __name__ == "__main__":
    found = prefeval.run(DATA)
    for name, part in found.items():
        part.pop("cases")
        print(
            name,
            {arm: (value["accuracy"], value["top_1"]) for arm, value in (part["arms"] | part["baselines"]).items()},
        )
    write("retrieval_prefeval", found, seed=0)
    prefeval.figure(found, Path(__file__).parent / "results" / "retrieval_prefeval.svg")
