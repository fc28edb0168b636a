"""Whether confidence is the probability that a person holds the preference that is read, on simulated people.

Each person holds some of the preferences in data/simulated_people.toml, has no opinion on the others, and writes one
to ten messages: sentences of what they hold, matters of work, and, as often as is their habit, the opposite of what
they hold. A reading is right where the person holds that pole; wrong where they hold the other one or have no opinion.
Dimensions that are near to a stated one (`companions` of exam_sentences.toml) or whose truth is unknown are left out.

The three numbers of `persona_align.inference.certainty` are fitted on one half of the people, who use other sentences
than the half that is reported.

Run: python -m benchmarks.inference_calibration [--fit]
"""

import argparse
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _report
from benchmarks.inference_sentences import MESSAGES, companions
from persona_align.encoder import open_encoder
from persona_align.inference import EvidenceScorer, Posterior, fold
from persona_align.inference.certainty import CERTAINTY, certainty
from persona_align.preferences import ALIGNX
from persona_align.records import Turn

SEED = 0
PEOPLE = 500
HOLDS = 0.3
"""How probable it is that a person holds any one preference."""
NEUTRAL = 0.25
CONTRARY = (0.0, 0.1, 0.25)
"""How often a person says the opposite of what they hold."""
BINS = 10
FAINT = 0.2
"""Evidence of so little weight, a fifth of a clear claim, is wrong more often than right and stays under the floor."""
START = datetime(2025, 1, 1, tzinfo=UTC)
DATA = Path(__file__).parent / "data" / "simulated_people.toml"
Half = Sequence["Read"]


class Read(NamedTuple):
    """A reading: its net evidence and confidence, whether it is right, and whether its dimension was spoken of."""

    net: float
    confidence: float
    right: bool
    spoken: bool


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fit", action="store_true", help="print the three numbers that suit the fitting half best")
    given = parser.parse_args()
    fitting, held = simulate(0), simulate(1)
    if given.fit:
        fitted = fit(fitting)
        print(
            f"CERTAINTY = {fitted}; held-out error {error(held, fitted):.4f}, with the present ones {error(held):.4f}"
        )
    results = {
        "people": PEOPLE,
        "numbers": CERTAINTY,
        "one clear claim": round(float(certainty(0.9)), 3),
        "held out": told(held),
        "held out, dimensions spoken of": told([read for read in held if read.spoken]),
        "held out, at or above the floor": told([read for read in held if read.confidence >= ALIGNX.floor]),
        "fitted on": told(fitting),
    }
    for name, result in results.items():
        print(name, result if not isinstance(result, dict) else {k: v for k, v in result.items() if k != "bins"})
    path = _report.write("inference_calibration", results, seed=SEED)
    draw(results["held out"]["bins"], path.with_suffix(".svg"))
    print(path)


def simulate(half: int) -> list[Read]:
    """What is read of simulated people who use one half of the sentences."""
    data = tomllib.loads(DATA.read_text(encoding="utf-8"))
    near = tomllib.loads(MESSAGES.read_text(encoding="utf-8"))["companions"]
    said = {
        (key, pole): poles[name][2 * half : 2 * half + 2]
        for key, poles in data["people"].items()
        for name, pole in (("high", 1), ("low", -1))
    }
    texts = sorted({*data["neutral"], *(text for sentences in said.values() for text in sentences)})
    scorer = EvidenceScorer(open_encoder(), ALIGNX)
    numbers = {
        text: scorer.score(Turn(role="user", text=text), [encoding])
        for text, encoding in zip(texts, scorer.encoder.encode(texts), strict=True)
    }
    rng = np.random.default_rng([SEED, half])
    found: list[Read] = []
    for _ in range(PEOPLE):
        holds = {key: int(rng.choice([-1, 1])) for key in data["people"] if rng.random() < HOLDS}
        contrary = rng.choice(CONTRARY)
        written, spoken = [], set()
        for day in range(int(rng.integers(1, 11))):
            if rng.random() < NEUTRAL or not holds:
                text = str(rng.choice(data["neutral"]))
            else:
                key = str(rng.choice(sorted(holds)))
                pole = holds[key] * (-1 if rng.random() < contrary else 1)
                text = str(rng.choice(said[key, pole]))
                spoken.add(key)
            at = START + timedelta(days=day, minutes=float(rng.uniform(0, 600)))
            written.append((Turn(role="user", text=text, at=at), numbers[text]))
        found += judged(fold(written, ALIGNX), holds, spoken, list(data["people"]), near)
    return found


def judged(
    posterior: Posterior, holds: dict[str, int], spoken: set[str], known: Sequence[str], near: Sequence[Sequence[str]]
) -> list[Read]:
    """The readings with any confidence, of the dimensions whose truth is known."""
    left_out = companions(sorted(spoken), near) - spoken
    reads = []
    for key in known:
        claims = posterior._read(key)
        if claims is not None and key not in left_out and claims.reading.confidence > 0:
            reading = claims.reading
            right = reading.value * holds.get(key, 0) > 0
            reads.append(Read(reading.net, reading.confidence, right, key in spoken))
    return reads


def fit(reads: Half) -> tuple[float, float, float]:
    """Of a grid, the numbers with the least squared error of probability, among those that leave `FAINT` unused."""
    net = np.array([read.net for read in reads])
    right = np.array([read.right for read in reads])
    grid = product(np.linspace(0.7, 0.99, 30), np.geomspace(0.3, 30, 40), np.linspace(0.4, 3.0, 27))
    silent = (numbers for numbers in grid if certainty(FAINT, numbers) <= ALIGNX.floor)
    best = min(silent, key=lambda numbers: float(((certainty(net, numbers) - right) ** 2).mean()))
    return tuple(round(float(number), 3) for number in best)  # type: ignore[return-value]


def error(reads: Half, numbers: tuple[float, float, float] = CERTAINTY) -> float:
    """The expected calibration error under other numbers."""
    net, right = np.array([read.net for read in reads]), np.array([read.right for read in reads])
    return calibration(certainty(net, numbers), right)[0]


def told(reads: Half) -> dict[str, Any]:
    """Expected calibration error, squared error, accuracy, and the bins of the reliability plot."""
    confidence, right = np.array([read.confidence for read in reads]), np.array([read.right for read in reads])
    expected, bins = calibration(confidence, right)
    return {
        "readings": len(reads),
        "expected_calibration_error": round(expected, 4),
        "brier": round(float(((confidence - right) ** 2).mean()), 4),
        "right": round(float(right.mean()), 4),
        "mean_confidence": round(float(confidence.mean()), 4),
        "bins": bins,
    }


def calibration(confidence: np.ndarray, right: np.ndarray) -> tuple[float, list[dict[str, float]]]:
    """The mean gap between confidence and share of right readings, over bins of equal width weighted by their size."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, gap = [], 0.0
    for number in range(BINS):
        inside = place == number
        if inside.any():
            mean, share = float(confidence[inside].mean()), float(right[inside].mean())
            gap += float(inside.mean()) * abs(mean - share)
            bins.append({"readings": int(inside.sum()), "confidence": round(mean, 4), "right": round(share, 4)})
    return gap, bins


def draw(bins: Sequence[dict[str, float]], path: Path) -> None:
    """The reliability plot: what is said against what is so, the size of a point its share of the readings."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    most = max(each["readings"] for each in bins)
    sizes = [20 + 200 * each["readings"] / most for each in bins]
    axes.scatter([each["confidence"] for each in bins], [each["right"] for each in bins], s=sizes, color="#2f6f9f")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of readings that are right")
    axes.set_title("Reliability on held-out simulated people")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
