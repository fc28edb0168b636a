"""What the vector costs: folding a history, adding one record to it, `preferences` and the size of the shipped heads.

Times are processor time of this process. Each is also given as a multiple of one encoder pass of a 40-word turn taken
in the same run, which says the same on a slow and on a busy machine.

Run: python -m benchmarks.inference_cost [--repeats 20]
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import numpy as np

from benchmarks import _report
from persona_align import PersonaAligner, Turn
from persona_align.encoder import open_encoder
from persona_align.inference import EvidenceScorer, fold
from persona_align.memory import Entry
from persona_align.preferences import ALIGNX

SEED = 0
SIZES = (100, 1_000, 10_000)
START = datetime(2020, 1, 1, tzinfo=UTC)
WORDS = ["river", "boats", "towns", "people", "talk", "music", "cook", "small", "kitchens", "letters"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    encoder = open_encoder()
    scorer = EvidenceScorer(encoder, ALIGNX)
    turn = " ".join(WORDS[i % len(WORDS)] for i in range(40))
    encode = median_ms(lambda i: encoder.encode([f"{turn} {i}"]), repeats)
    results: dict[str, Any] = {"encoder_pass_ms": encode}
    kinds = scored(scorer)
    for size in SIZES:
        items = history(kinds, size + repeats)
        whole = median_ms(lambda _, items=items, size=size: fold(items[:size], ALIGNX), repeats)
        one = added(items, size, repeats)
        results[f"{size} records"] = {
            "claims": sum(len(numbers["evidence"]) for _, numbers in items[:size]),
            "fold_all_ms": whole,
            "fold_all_encoder_passes": round(whole / encode, 3),
            "fold_one_more_ms": one,
            "fold_one_more_encoder_passes": round(one / encode, 4),
        }
    results |= facade(kinds, repeats)
    results["shipped_heads_mib"] = round(shipped() / 2**20, 2)
    print(results)
    print(_report.write("inference_cost", results, seed=SEED))


def scored(scorer: EvidenceScorer) -> list[dict[str, Any]]:
    """The numbers of ordinary messages: half say something of their author, half are work."""
    texts = [d.high_statements[0] for d in ALIGNX if d.high_statements]
    texts += [f"Write a note about {word} for {n} people." for n, word in enumerate(WORDS * 9)]
    return [
        scorer.score(Turn(role="user", text=text), [encoding])
        for text, encoding in zip(texts, scorer.encoder.encode(texts), strict=True)
    ]


def history(kinds: list[dict[str, Any]], count: int) -> list[tuple[Turn, dict[str, Any]]]:
    """Messages four hours apart."""
    rng = np.random.default_rng(SEED)
    return [
        (Turn(role="user", text=f"message {i}", at=START + timedelta(hours=4 * i)), kinds[rng.integers(len(kinds))])
        for i in range(count)
    ]


def added(items: list[tuple[Turn, dict[str, Any]]], size: int, repeats: int) -> float:
    """One record more: each is folded onto the posterior of those before it, and the last result is checked."""
    posteriors = [fold(items[:size], ALIGNX)]

    def add(i: int) -> None:
        posteriors.append(fold(items[size + i : size + i + 1], ALIGNX, onto=posteriors[-1]))

    took = median_ms(add, repeats, warm=False)
    whole = fold(items, ALIGNX).vector
    assert whole.values.tobytes() == posteriors[-1].vector.values.tobytes()
    return took


def facade(kinds: list[dict[str, Any]], repeats: int) -> dict[str, float]:
    """`preferences` of a user of 10,000 records through the facade: after a new record, and again."""
    with PersonaAligner.open() as aligner:
        entries = [
            Entry(record=turn, embedding=np.eye(384, dtype=np.float32)[i % 384], numbers=numbers, version=version)
            for version in [aligner._scorer.version]
            for i, (turn, numbers) in enumerate(history(kinds, SIZES[-1]))
        ]
        aligner.memory.append("ada", entries)
        first = median_ms(lambda _: aligner.preferences("ada"), 1, warm=False)
        after, again = [], []
        for i in range(repeats):
            aligner.record("ada", Turn(role="user", text=f"And now number {i}, please."))
            after.append(median_ms(lambda _: aligner.preferences("ada"), 1, warm=False))
            again.append(median_ms(lambda _: aligner.preferences("ada"), 1, warm=False))
    return {
        "preferences_of_10000_records_first_ms": first,
        "preferences_of_10000_records_after_a_record_ms": round(float(np.median(after)), 3),
        "preferences_of_10000_records_again_ms": round(float(np.median(again)), 3),
    }


def shipped() -> int:
    """Bytes of everything that inference ships beside its code."""
    folder = files("persona_align.inference").joinpath("data")
    return sum(len(file.read_bytes()) for file in folder.iterdir() if file.name.endswith((".npz", ".safetensors")))


def median_ms(call: Callable[[int], Any], repeats: int, *, warm: bool = True) -> float:
    """The median processor time of a call."""
    if warm:
        call(-1)
    took = []
    for i in range(repeats):
        began = time.process_time()
        call(i)
        took.append((time.process_time() - began) * 1e3)
    return round(float(np.median(took)), 4)


if __name__ == "__main__":
    main()
