"""Ten invented dimensions of two statements a pole beside the 90: are messages read towards the right pole?

Run: python -m benchmarks.inference_own_dimensions
"""

import tomllib
from pathlib import Path
from typing import Any

from benchmarks import _report
from persona_align.encoder import open_encoder
from persona_align.inference import EvidenceScorer, fold
from persona_align.preferences import ALIGNX, Dimension
from persona_align.records import Turn

DATA = Path(__file__).parent / "data"


def dimensions() -> dict[str, dict[str, list[str]]]:
    """The invented dimensions."""
    return tomllib.loads((DATA / "own_dimensions.toml").read_text(encoding="utf-8"))


def neutral() -> list[str]:
    """Messages that state nothing."""
    exam = tomllib.loads((DATA / "exam_sentences.toml").read_text(encoding="utf-8"))
    return [each["text"] for part in ("dev", "exam") for each in exam[part] if each["category"] == "neutral"]


def measure() -> dict[str, Any]:
    """Shares of messages with the right sign, and found over the floor; and what neutral messages raise."""
    own = dimensions()
    space = ALIGNX.extend(
        *(
            Dimension(
                key=key,
                high=f"{key}, one way",
                low=f"{key}, the other",
                high_statements=tuple(each["high"]),
                low_statements=tuple(each["low"]),
            )
            for key, each in own.items()
        )
    )
    scorer = EvidenceScorer(open_encoder(), space)

    def reading(text: str, key: str) -> tuple[float, float]:
        turn = Turn(role="user", text=text)
        found = fold([(turn, scorer.score(turn, scorer.encoder.encode([text])))], space).vector[key]
        return found.value, found.confidence

    results: dict[str, Any] = {}
    for key, each in own.items():
        read = [(sign, *reading(t, key)) for sign, name in ((1, "says_high"), (-1, "says_low")) for t in each[name]]
        other = [reading(t, key) for name, rest in own.items() if name != key for t in rest["says_high"]]
        results[key] = {
            "right sign": sum(sign * value > 0 for sign, value, _ in read) / len(read),
            "found": sum(sign * value > 0 and sure >= space.floor for sign, value, sure in read) / len(read),
            "wrong": sum(sign * value < 0 and sure >= space.floor for sign, value, sure in read) / len(read),
            "raised by messages on another": sum(sure >= space.floor for _, sure in other) / len(other),
            "raised by neutral ones": sum(reading(t, key)[1] >= space.floor for t in neutral()) / len(neutral()),
        }
    mean = {name: sum(each[name] for each in results.values()) / len(results) for name in next(iter(results.values()))}
    return {"mean": {name: round(value, 3) for name, value in mean.items()}, "dimensions": results}


def main() -> None:
    results = measure()
    print(results["mean"])
    print(_report.write("inference_own_dimensions", results, seed=0))


if __name__ == "__main__":
    main()
