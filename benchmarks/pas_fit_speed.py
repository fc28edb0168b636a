"""How long one person takes to fit at the geometry of Llama-3-8B: the reference's procedure, `fit` and `fit_many`.

Activations are random with planted directions: 32 layers x 32 heads x 128, 120 statements. Run from the repository:
`python -m benchmarks.pas_fit_speed`.
"""

import time
from types import SimpleNamespace

import numpy as np

from benchmarks import _report
from persona_align.steering.offsets import Geometry
from persona_align.steering.search import ActivationSearch
from persona_align.steering.statements import Captured
from tests.oracles.pas_reference import planted, reference_fit

SEED, ITEMS, PEOPLE, KEEP = 0, 120, 1000, 24
GEOMETRY = Geometry(32, 32, 128)
REPEATS = 7


def main() -> None:
    rng = np.random.default_rng(SEED)
    heads = GEOMETRY.layers * GEOMETRY.heads
    agree, disagree, answers, carrying = planted(
        SEED, heads=heads, items=ITEMS, head_dim=GEOMETRY.head_dim, carrying=KEEP, people=PEOPLE
    )
    gradient = rng.standard_normal((heads, ITEMS, GEOMETRY.head_dim), dtype=np.float32) / 100
    captured = Captured(
        agree.astype(np.float32), disagree.astype(np.float32), gradient, np.full(ITEMS, 3.0) + rng.normal(0, 0.3, ITEMS)
    )
    started = time.perf_counter()
    search = ActivationSearch.of_captured(captured, SimpleNamespace(geometry=GEOMETRY, fingerprint="random"), keep=KEEP)
    prepared = time.perf_counter() - started

    reference_s, overlap, cosine = against_the_reference(search, agree, disagree, answers[0])
    results = {
        "geometry": str(GEOMETRY),
        "statements": ITEMS,
        "kept_heads": KEEP,
        "prepared_once_s": prepared,
        "reference_procedure_s_per_person": reference_s,
        "heads_shared_with_reference": overlap,
        "smallest_cosine_on_shared_heads": cosine,
        "planted_heads_found": len({h * 32 + k for h, k, _ in search.chosen_heads(answers[0])} & set(carrying)) / KEEP,
        "memory_bandwidth_gb_s": bandwidth(search._flat),
        "methods": {},
    }
    for method in ("search", "linear"):
        one = float(np.median([timed(search.fit, answers[k], method=method) for k in range(REPEATS)]))
        many = float(np.median([timed(search.fit_many, answers, method=method) for _ in range(3)])) / PEOPLE
        results["methods"][method] = {
            "fit_ms": 1e3 * one,
            "fit_many_ms_per_person": 1e3 * many,
            "reference_over_fit": reference_s / one,
            "reference_over_fit_many": reference_s / many,
        }
    floor = 1e3 * search._flat.nbytes / (results["memory_bandwidth_gb_s"] * 1e9)
    results["methods"]["linear"]["fit_floor_ms_reading_gradients_once"] = floor
    results["methods"]["linear"]["fit_over_floor"] = results["methods"]["linear"]["fit_ms"] / floor
    for name, value in results.items():
        print(name, value)
    print(_report.write("pas_fit_speed", results, seed=SEED))


def against_the_reference(search, agree, disagree, answers):
    """Seconds of the reference's procedure, and how far its heads and directions are ours."""
    started = time.perf_counter()
    theirs = reference_fit(agree.astype(np.float32), disagree.astype(np.float32), answers, keep=KEEP, by_item=False)
    seconds = time.perf_counter() - started
    directions = search.fit(answers, method="search").values.reshape(-1, GEOMETRY.head_dim).astype(float)
    shared = [k for k, head in enumerate(theirs.heads) if directions[head].any()]
    cosines = [
        directions[theirs.heads[k]] @ theirs.directions[k] / np.linalg.norm(directions[theirs.heads[k]]) for k in shared
    ]
    return seconds, len(shared) / KEEP, float(min(cosines))


def bandwidth(array):
    """Gigabytes a second that a product of a matrix with a vector reads, at best, on all cores."""
    weights = np.ones(len(array), np.float32)
    return array.nbytes / min(timed(np.matmul, weights, array) for _ in range(20)) / 1e9


def timed(call, *arguments, **named):
    started = time.perf_counter()
    call(*arguments, **named)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
