"""PrefEval's retrieval: does the message that bears the preference come back for a later question?

Settings: "stated" (the preference is a message of its own), "revealed" (mentioned in passing, in a conversation about
something else), and "ten topics" (the same, with a conversation about each other topic in the same user's history).
Distractors are real, unrelated chat turns. Where a preference is mentioned in passing, the message that counts is the
one closest to the stated preference.

Source: PrefEval (Zhao et al. 2025), which reports 0.26 for SimCSE.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from persona_align.encoder import Encoding, open_encoder
from persona_align.evaluation.figures import bars
from persona_align.evaluation.tasting import BATCH, accuracy
from persona_align.inference.expressiveness import open_expressiveness, turn_numbers
from persona_align.memory.entry import Entry
from persona_align.memory.history import History
from persona_align.memory.retrieval import retrieve
from persona_align.records import Turn

__all__ = ["figure", "run"]

K = 5


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A question, the user messages of a history in their order, and those among which the preference is."""

    setting: str
    topic: str
    question: str
    preference: str
    messages: tuple[str, ...]
    own: range


def run(
    data: Path,
    *,
    encoder: Any = None,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How often the message that bears the preference is among the first five, and the first, by setting.

    Args:
        data: The folder of benchmark data, or its prefeval folder.
        encoder: Any encoder that `open_encoder` takes.
        seed: Of the bootstrap, the order of messages and the baseline by chance.
        limit: Only so many cases of each topic.
        progress: Called with (done, all) texts while they are encoded.

    Returns:
        By setting: "arms" (retrieval), "baselines" (cosine of whole messages, chance), each with "accuracy" (top 5),
        its "interval" and "top_1"; "cases" with the rank of each; "messages" in the largest history.
    """
    opened = open_encoder(encoder)
    cases = _read(data / "prefeval" if (data / "prefeval").is_dir() else data, seed, limit)
    texts = sorted({text for case in cases for text in (case.question, case.preference, *case.messages)})
    encodings: dict[str, Encoding] = {}
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        encodings.update(zip(batch, opened.encode(batch), strict=True))
        if progress is not None:
            progress(len(encodings), len(texts))
    head = open_expressiveness(opened)
    entries = {
        text: Entry(
            record=Turn(role="user", text=text), embedding=encoding.content, numbers=turn_numbers(encoding, head)
        )
        for text, encoding in encodings.items()
        if text.strip()
    }
    return measure(cases, entries, seed)


def measure(cases: Iterable[_Case], entries: Mapping[str, Entry], seed: int) -> dict[str, Any]:
    """The result of `run`, given what memory would hold of every text."""
    rng = np.random.default_rng(seed)

    def ours(case: _Case) -> list[int]:
        history = _history([entries[text] for text in case.messages])
        found = retrieve(history, entries[case.question].embedding, K, query_text=case.question)
        return [case.messages.index(each.record.texts[0]) for each in found]

    def cosine(case: _Case) -> list[int]:
        likeness = np.stack([entries[text].embedding for text in case.messages]) @ entries[case.question].embedding
        return [int(place) for place in np.argsort(-likeness, kind="stable")[:K]]

    def chance(case: _Case) -> list[int]:
        return [int(place) for place in rng.permutation(len(case.messages))[:K]]

    by_setting: dict[str, list[_Case]] = {}
    for case in cases:
        by_setting.setdefault(case.setting, []).append(case)
    results = {}
    for setting, found in by_setting.items():
        gold = [_gold(case, entries) for case in found]
        ranks = {
            name: [_rank(place, ranked(case)) for case, place in zip(found, gold, strict=True)]
            for name, ranked in (("retrieval", ours), ("cosine of whole messages", cosine), ("random", chance))
        }
        told = {name: _summary(found, places, seed) for name, places in ranks.items()}
        results[setting] = {
            "arms": {"retrieval": told.pop("retrieval")},
            "baselines": told,
            "messages": max(len(case.messages) for case in found),
            "cases": [
                {"topic": case.topic, "question": case.question, "rank": rank}
                for case, rank in zip(found, ranks["retrieval"], strict=True)
            ],
        }
    return results


def figure(result: dict[str, Any], path: Path) -> None:
    """Write a result of `run` as bars; the suffix of `path` names the format."""
    rows = []
    for setting, part in result.items():
        rows += [(f"{setting}: {arm}", value, True) for arm, value in part["arms"].items()]
        rows += [(f"{setting}: {arm}", value, False) for arm, value in part["baselines"].items()]
    bars(rows, path, title="PrefEval: the preference is among the first five messages")


def _summary(cases: Sequence[_Case], ranks: Sequence[int | None], seed: int) -> dict[str, Any]:
    result = accuracy([float(rank is not None) for rank in ranks], [case.preference for case in cases], seed)
    return {**result, "top_1": round(float(np.mean([rank == 1 for rank in ranks])), 4)}


def _rank(gold: int, found: Sequence[int]) -> int | None:
    return found.index(gold) + 1 if gold in found else None


def _gold(case: _Case, entries: Mapping[str, Entry]) -> int:
    """Of the case's own messages, the one closest to the stated preference, as a whole or by one sentence."""
    stated = entries[case.preference].embedding

    def likeness(place: int) -> float:
        entry = entries[case.messages[place]]
        return float(max(entry.embedding @ stated, (entry.numbers["sentence_content"] @ stated).max()))

    return max(case.own, key=likeness)


def _history(entries: Sequence[Entry]) -> History:
    embeddings = np.stack([entry.embedding for entry in entries])
    return History(entries=tuple(entries), embeddings=embeddings, revision=None)


def _read(folder: Path, seed: int, limit: int | None) -> list[_Case]:
    """Every case in each setting: the preference comes first, the distractors after it, as in the paper."""
    rng = np.random.default_rng(seed)
    turns = json.loads((folder / "inter_turns.json").read_text(encoding="utf-8"))
    said = [turn["content"] for chat in turns for turn in chat["conversation"] if turn["role"] == "user"]
    distractors = tuple(dict.fromkeys(text for text in said if text.strip()))
    stated = _topics(folder / "explicit", limit)
    revealed = _topics(folder / "persona", limit)
    cases = [
        _case("stated", topic, case, (case["preference"],), (), distractors)
        for topic, found in stated.items()
        for case in found
    ]
    for topic, found in revealed.items():
        for number, case in enumerate(found):
            own = _said(case)
            cases.append(_case("revealed", topic, case, own, (), distractors))
            others = [_said(among[number % len(among)]) for name, among in revealed.items() if name != topic]
            before = tuple(text for place in rng.permutation(len(others)) for text in others[place])
            cases.append(_case("ten topics", topic, case, own, before, distractors))
    return cases


def _case(
    setting: str,
    topic: str,
    case: Mapping[str, Any],
    own: tuple[str, ...],
    before: tuple[str, ...],
    after: tuple[str, ...],
) -> _Case:
    return _Case(
        setting=setting,
        topic=topic,
        question=case["question"],
        preference=case["preference"],
        messages=before + own + after,
        own=range(len(before), len(before) + len(own)),
    )


def _topics(folder: Path, limit: int | None) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))[:limit] for path in sorted(folder.glob("*.json"))}


def _said(case: Mapping[str, Any]) -> tuple[str, ...]:
    exchanges = sorted(case["conversation"].items(), key=lambda item: int(item[0]))
    return tuple(exchange["user"] for _, exchange in exchanges if exchange["user"].strip())
