"""How much a person with few answers gains from a group: PAS on real people by the number of their answers.

The group is the people who calibrated the bundled model; the evaluated ones were never seen. Errors are those of PAPI:
composite over five traits on 180 statements that nobody was fitted to, lower is better.

Run: python -m benchmarks.pas_groups [--people 75] [--optimize 25]
"""

import argparse
from typing import Any

import numpy as np

from benchmarks import _report
from benchmarks.pas_papi import DATA
from persona_align.evaluation.papi import load_study, score
from persona_align.evaluation.papi_arms import Answered

SHOWN = (5, 10, 20, 40, 80, 120)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=None)
    parser.add_argument("--optimize", type=int, default=25, help="people of the slower method")
    options = parser.parse_args()
    study = load_study(DATA, seed=options.seed, people=options.people)
    group = study.others.agreement[:, study.items.train]
    rng = np.random.default_rng(options.seed)
    order = np.argsort(rng.random(study.training.shape), axis=1)
    arms: dict[str, Answered] = {"base": study.base()}
    nobody = study.search.fit(group.mean(axis=0))
    arms["the group's mean answers, linear"] = study.steered([nobody] * len(study.people), 0.0)
    for method in ("linear", "optimize"):
        few = range(len(study.people) if method == "linear" else min(options.optimize, len(study.people)))
        for shown in SHOWN:
            answers = study.training.copy()
            np.put_along_axis(answers, order[:, shown:], np.nan, axis=1)
            for name, others in (("alone", None), ("with a group", group)):
                found = study.search.fit_many(answers[list(few)], method=method, seed=options.seed, group=others)
                arms[f"{method}, {shown} answers, {name}"] = Answered(study.sheet.answers(found), people=tuple(few))
                print(method, shown, name, flush=True)
    scored: dict[str, Any] = score(study, arms, seed=options.seed)
    results = {"people": len(study.people), "group": len(group), "arms": scored["arms"]}
    for name, arm in results["arms"].items():
        print(name, arm["composite"], arm["gain_over_base"])
    print(_report.write("pas_groups", results, seed=options.seed))


if __name__ == "__main__":
    main()
