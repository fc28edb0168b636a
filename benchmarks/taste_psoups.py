"""P-Soups with four arms, learning curve and trivial baselines: `python -m benchmarks.taste_psoups [DATA]`."""

import os
import sys
from pathlib import Path

from benchmarks._report import write
from persona_align.evaluation import psoups

DATA = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PERSONA_ALIGN_DATA", "../shared/data"))

if __name__ == "__main__":
    found = psoups.run(DATA)
    for name, part in found.items():
        part.pop("cases")
        print(name, {arm: value["accuracy"] for arm, value in (part["arms"] | part["baselines"]).items()})
        print("  after 1, 2, ...:", [value["accuracy"] for value in part["learning"].values()])
    write("taste_psoups", found, seed=0)
    psoups.figure(found, Path(__file__).parent / "results" / "taste_psoups.svg")
