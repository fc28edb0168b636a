"""Whether taste's log odds are calibrated, on matters and registers of our own that the prior was not fitted on.

For every pair of registers, the space is fitted without the two and on two thirds of the matters. A user who prefers
one of them is seen in 1, 4 or 12 comparisons and tested on other matters. "sharpness" is the factor on the log odds
under which the answers are likeliest: near 1 they are calibrated.
`python -m benchmarks.taste_calibration`
"""

from itertools import combinations

import numpy as np

from benchmarks._report import write
from persona_align.encoder import open_encoder
from training.style_space import REGISTERS, corpus_features, fit, read_corpus

SEED = 0
GIVEN = (1, 4, 12)
GRID = np.exp(np.linspace(np.log(0.05), np.log(3.0), 60))


def sharpness(margins: np.ndarray) -> float:
    """Of a grid, the factor under which the right answers are likeliest."""
    losses = [np.logaddexp(0, -margins * factor).mean() for factor in GRID]
    return float(GRID[int(np.argmin(losses))])


if __name__ == "__main__":
    encoder = open_encoder()
    features = corpus_features(encoder, read_corpus())
    rng = np.random.default_rng(SEED)
    margins: dict[int, list[np.ndarray]] = {n: [] for n in GIVEN}
    for liked, disliked in combinations(range(len(REGISTERS)), 2):
        matters = rng.permutation(len(features))
        seen, unseen = matters[: 2 * len(matters) // 3], matters[2 * len(matters) // 3 :]
        kept = [i for i in range(len(REGISTERS)) if i not in (liked, disliked)]
        space = fit(features[seen][:, kept], encoder.fingerprint)
        shifts = (features[unseen, liked] - features[unseen, disliked]) @ space.basis.T
        for _ in range(10):
            order = rng.permutation(len(shifts))
            for n in GIVEN:
                variance = space.signal / (1 + n * space.signal)
                mean = variance * shifts[order[:n]].sum(0)
                margins[n].append(shifts[order[max(GIVEN) :]] @ (2 * mean / (1 + variance)))
    told = {
        str(n): {
            "accuracy": round(float((np.concatenate(found) > 0).mean()), 4),
            "sharpness": round(sharpness(np.concatenate(found)), 3),
        }
        for n, found in margins.items()
    }
    print(told)
    write("taste_calibration", told, seed=SEED)
