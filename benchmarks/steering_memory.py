"""Memory of a thousand users' offsets at Llama-3-8B geometry (32 layers, 32 heads, head dimension 128).

Dense offsets are kept with `half()`, in float16; offsets that touch a few heads keep only those heads.

    python -m benchmarks.steering_memory
"""

import argparse
import ctypes
import gc
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _report
from persona_align.steering import ActivationOffsets

SHAPE = (32, 32, 128)


def resident() -> int:
    """Bytes of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def measure(kind: str, users: int, seed: int) -> dict[str, Any]:
    """Build the offsets of `users` people and see what they take."""
    rng = np.random.default_rng(seed)
    _ = ActivationOffsets(rng.standard_normal(SHAPE), fingerprint="warm").half().content_hash
    gc.collect()
    before, began = resident(), time.perf_counter()
    kept = []
    for _ in range(users):
        values = rng.standard_normal(SHAPE, dtype=np.float32)
        if kind == "24 heads":
            chosen = np.zeros(SHAPE[0] * SHAPE[1], bool)
            chosen[rng.choice(chosen.size, 24, replace=False)] = True
            values *= chosen.reshape(SHAPE[0], SHAPE[1], 1)
        offsets = ActivationOffsets(values, fingerprint="llama-32x32x128")
        kept.append(offsets.half() if kind == "dense, float16" else offsets)
    built = time.perf_counter() - began
    gc.collect()
    grown = resident() - before
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps the holes that the making left behind; give them back
    held = resident() - before
    worst = max(float(np.abs(values - kept[-1].values).max()), 0.0)
    return {
        "held_mb": round(sum(one.nbytes for one in kept) / 1e6, 1),
        "resident_growth_mb": round(held / 1e6, 1),
        "resident_growth_before_malloc_trim_mb": round(grown / 1e6, 1),
        "largest_rounding_error": worst,
        "milliseconds_a_user": round(1e3 * built / users, 2),
    }


def _in_fresh_process(kind: str, users: int, seed: int) -> dict[str, Any]:
    """Memory that an earlier measurement gave back would hide what this one takes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (kind, users, seed))


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = ("dense, float16", "24 heads", "dense, float32")
    results = {
        "users": options.users,
        "geometry": SHAPE,
        "bound_mb": 300,
        **{kind: _in_fresh_process(kind, options.users, options.seed) for kind in kinds},
    }
    print(_report.write("steering_memory", results, seed=options.seed).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
