"""PAPI on the bundled model: every arm beside the baselines, on the people that its training never saw.

Run: python -m benchmarks.pas_papi [--people 75] [--slow-people 10] [--cases FOLDER]
"""

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks import _report
from persona_align.evaluation.papi import ARMS, run

DATA = Path(os.environ.get("PERSONA_ALIGN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=None)
    parser.add_argument("--slow-people", type=int, default=10, help="people of the reference's procedure and of DPO")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--cases", type=Path, default=None, help="where every person's answers and the figure go")
    given = parser.parse_args()
    results = run(
        DATA,
        arms=given.arms,
        people=given.people,
        slow_people=given.slow_people,
        seed=given.seed,
        output=given.cases,
        report=lambda arm: print(arm, flush=True),
    )
    for name, arm in {**results["baselines"], **results["arms"]}.items():
        print(name, arm["composite"], _seconds(arm))
    print(_report.write("pas_papi", results, seed=given.seed))


def _seconds(arm: dict[str, Any]) -> str:
    return f"{arm['fit_seconds_per_person']:.3f} s a person" if "fit_seconds_per_person" in arm else ""


if __name__ == "__main__":
    main()
