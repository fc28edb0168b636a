"""One message, one new user: which of the dimensions that it states are found, and what else it raises.

The messages are in data/exam_sentences.toml, written apart from everything that is trained or looked up. `dev` may be
looked at while something is mended; `exam` is for reporting only.

Run: python -m benchmarks.inference_sentences [--show]
"""

import argparse
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import _report
from persona_align import PersonaAligner, Turn

SEED = 0
MESSAGES = Path(__file__).parent / "data" / "exam_sentences.toml"
PARTS = ("dev", "exam")


class Case(NamedTuple):
    """A message with what it states, and what was read out of it at or above the floor of confidence."""

    part: str
    category: str
    text: str
    says: Mapping[str, int]
    found: Mapping[str, float]
    raised: tuple[str, ...]

    def outcome(self, key: str) -> str:
        """Of a stated dimension: "right", "wrong sign" or "silent"."""
        value = self.found.get(key)
        return "silent" if value is None else "right" if value * self.says[key] > 0 else "wrong sign"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", action="store_true", help="print the messages of dev that were misread")
    given = parser.parse_args()
    cases = read()
    for case in cases:
        missed = {key: case.outcome(key) for key in case.says if case.outcome(key) != "right"}
        if given.show and case.part == "dev" and (missed or case.raised):
            print(f"{case.category}: {case.text!r}\n    missed {missed}, raised {list(case.raised)}")
    results = {part: summary([case for case in cases if case.part == part]) for part in PARTS}
    for part, result in results.items():
        print(part, result["all"])
    print(_report.write("inference_sentences", results, seed=SEED))


def read() -> list[Case]:
    """Every message recorded as the only one of its user."""
    data = tomllib.loads(MESSAGES.read_text(encoding="utf-8"))
    cases = []
    with PersonaAligner.open() as aligner:
        for part in PARTS:
            for number, message in enumerate(data[part]):
                user = f"{part} {number}"
                aligner.record(user, Turn(role="user", text=message["text"]))
                found = {reading.key: reading.value for reading in aligner.preferences(user).confident()}
                says = {said[:-1]: 1 if said.endswith("+") else -1 for said in message["says"]}
                meant = companions([*says, *message.get("may", ())], data["companions"])
                raised = tuple(key for key in found if key not in meant)
                cases.append(Case(part, message["category"], message["text"], says, found, raised))
    return cases


def companions(keys: Sequence[str], groups: Iterable[Sequence[str]]) -> frozenset[str]:
    """The keys with all that share a group with one of them."""
    return frozenset(keys).union(*(group for group in groups if set(group) & set(keys)))


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Shares over all messages and per category."""
    categories = {case.category: [other for other in cases if other.category == case.category] for case in cases}
    return {
        "all": shares(cases),
        "categories": {category: shares(members) for category, members in categories.items()},
    }


def shares(cases: Sequence[Case]) -> dict[str, Any]:
    """Of the stated dimensions: found with the right sign, silent, wrong sign. Of messages: what is raised beside."""
    outcomes = [case.outcome(key) for case in cases for key in case.says]
    silent = [not case.found for case in cases if not case.says]
    told: dict[str, Any] = {"messages": len(cases), "stated": len(outcomes)}
    for name in ("right", "silent", "wrong sign"):
        told[name] = _share([outcome == name for outcome in outcomes])
    told["messages raising the unstated and unrelated"] = _share([bool(case.raised) for case in cases])
    told["messages that state nothing and are silent"] = _share(silent)
    return told


def _share(hits: Sequence[bool]) -> float | None:
    return round(sum(hits) / len(hits), 3) if hits else None


if __name__ == "__main__":
    main()
