"""Five traits from chat: real people's questionnaire answers, said as chat messages, against their measured scores.

Each answer to one of 120 statements becomes one first-person message by a template of its strength: affirmed, hedged,
undecided, hedged denial, denial. The templates are used nowhere else; nothing is trained on them. The traits inferred
from a person's messages are correlated with the scores of the 180 other statements.
"""

import csv
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.evaluation.figures import bars

__all__ = ["TRAITS", "Questionnaire", "figure", "load", "messages", "run", "say"]

Floats = NDArray[np.float64]
TRAITS = {"O": "openness", "C": "conscientiousness", "E": "extraversion", "A": "agreeableness", "N": "neuroticism"}

_TEMPLATES: dict[int, tuple[str, ...]] = {
    5: (
        "{S}, no question about it.",
        "One thing is certain: {s}.",
        "Ask anybody and they will tell you that {s}.",
        "{S}, that is me all over.",
        "Oh yes, {s}, big time.",
    ),
    4: (
        "By and large {s}.",
        "{S}, more often than not.",
        "It is fair to say that {s}.",
        "I guess {s}, for the most part.",
        "On the whole I would agree that {s}.",
    ),
    3: (
        "I could not tell you whether {s} or not.",
        "Some days {s}, other days it is the reverse.",
        "Hard to say if {s}, it could go either way.",
    ),
    2: (
        "I can't claim that {s}.",
        "{S}? Not so much.",
        "It isn't all that often that {s}.",
        "It would be a stretch to say that {s}.",
        "I doubt anyone would say that {s}.",
    ),
    1: (
        "There is no way that {s}.",
        "{S}? Absolutely not.",
        "It is plain wrong that {s}.",
        "The idea that {s} is ridiculous.",
        "In no way could it be said that {s}.",
    ),
}


class Questionnaire(NamedTuple):
    """Answers of real people, correctly keyed.

    Args:
        statements: The statements, as published.
        agreement: Shape [people, statements]: raw agreement 1..5, NaN where missing.
        trait: Shape [statements]: the letter of each statement's trait.
        sign: Shape [statements]: 1 where agreement means more of the trait, else -1.
        shown: Shape [statements]: whether a statement is one of the 120 that become messages.
    """

    statements: tuple[str, ...]
    agreement: Floats
    trait: NDArray[np.str_]
    sign: Floats
    shown: NDArray[np.bool_]

    def scores(self, which: NDArray[np.bool_]) -> Floats:
        """Trait scores from some of the statements.

        Returns:
            Shape [people, 5], in the order of TRAITS: the mean of the keyed answers, missing ones left out.
        """
        keyed = np.where(self.sign > 0, self.agreement, 6 - self.agreement)
        return np.stack([np.nanmean(keyed[:, which & (self.trait == letter)], axis=1) for letter in TRAITS], axis=1)


def load(data: Path) -> Questionnaire:
    """The questionnaire of the benchmark data.

    The published answers of reverse-keyed statements are already reversed, so raw agreement is 6 minus the published
    value; 0 means missing.

    Source: PAPI of PAS (arXiv 2408.11779); IPIP-NEO-300 items.
    """
    with (data / "papi" / "items.csv").open(encoding="utf-8", newline="") as file:
        items = list(csv.DictReader(file))
    with (data / "papi" / "subjects.csv").open(encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    keyed = np.array([[float(person[f"i{item['item']}"]) for item in items] for person in people])
    keyed[keyed == 0] = np.nan
    sign = np.array([1.0 if item["sign"] == "+" else -1.0 for item in items])
    return Questionnaire(
        statements=tuple(item["text"] for item in items),
        agreement=np.where(sign > 0, keyed, 6 - keyed),
        trait=np.array([item["facet_key"][0] for item in items]),
        sign=sign,
        shown=np.array([item["split"] == "train" for item in items]),
    )


def say(statement: str, agreement: int, template: int) -> str:
    """One answer as a first-person chat message.

    Example:
        >>> say("Love large parties.", 2, 0)
        "I can't claim that I love large parties."
    """
    clause = statement.strip().rstrip(".")
    clause = clause.replace('."', '"')
    head = clause.split()[0]
    verb = "am " if head in {"Interested", "Willing"} else ""
    clause = f"I {verb}{clause[:1].lower()}{clause[1:]}"
    templates = _TEMPLATES[agreement]
    return templates[template % len(templates)].format(s=clause, S=clause)


def messages(questionnaire: Questionnaire, person: int, *, seed: int = 0) -> list[str]:
    """The shown answers of one person as messages, in an order and with templates drawn by the seed."""
    rng = random.Random(f"{seed}/{person}")
    numbers = [int(n) for n in np.flatnonzero(questionnaire.shown) if np.isfinite(questionnaire.agreement[person, n])]
    rng.shuffle(numbers)
    return [
        say(questionnaire.statements[n], int(questionnaire.agreement[person, n]), rng.randrange(60)) for n in numbers
    ]


def run(
    data: Path,
    *,
    encoder: Any = None,
    people: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The correlation of inferred with measured traits, with its baselines.

    Args:
        data: The folder of benchmark data.
        encoder: Any encoder that `open_encoder` takes.
        people: Only the first so many.
        seed: Of the templates and of the bootstrap.
        progress: Called with (done, all) people.

    Returns:
        "correlation" by trait and "mean", each with a 95% bootstrap interval in "interval"; "baselines": the score of
        the 120 statements themselves (a ceiling), a shuffled pairing of people; "people" and "per_person" values.
    """
    from persona_align.encoder import open_encoder
    from persona_align.inference import EvidenceScorer, fold
    from persona_align.preferences import ALIGNX
    from persona_align.records import Turn

    questionnaire = load(data)
    count = len(questionnaire.agreement) if people is None else min(people, len(questionnaire.agreement))
    scorer = EvidenceScorer(open_encoder(encoder), ALIGNX)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    known: dict[str, Any] = {}
    inferred = np.zeros((count, len(TRAITS)))
    for person in range(count):
        texts = messages(questionnaire, person, seed=seed)
        fresh = sorted({text for text in texts if text not in known})
        for text, encoding in zip(fresh, scorer.encoder.encode(fresh), strict=True):
            record = Turn(role="user", text=text)
            known[text] = scorer.score(record, [encoding])
        records = [Turn(role="user", text=t, at=start + timedelta(hours=i)) for i, t in enumerate(texts)]
        vector = fold([(record, known[record.text]) for record in records], ALIGNX).vector
        inferred[person] = [vector[key].value for key in TRAITS.values()]
        if progress:
            progress(person + 1, count)
    target = questionnaire.scores(~questionnaire.shown)[:count]
    ceiling = questionnaire.scores(questionnaire.shown)[:count]
    shuffled = np.random.default_rng(seed).permutation(count)
    return {
        "people": count,
        "messages": int(questionnaire.shown.sum()),
        **_correlations(inferred, target, seed),
        "baselines": {
            "scores of the 120 statements (ceiling)": _correlations(ceiling, target, seed)["correlation"],
            "inferred from another person's messages": _correlations(inferred[shuffled], target, seed)["correlation"],
        },
        "per_person": [
            {
                "inferred": dict(zip(TRAITS, row.round(4).tolist(), strict=True)),
                "measured": dict(zip(TRAITS, t, strict=True)),
            }
            for row, t in zip(inferred, target.round(4).tolist(), strict=True)
        ],
    }


def figure(result: dict[str, Any], path: Path) -> None:
    """Write the correlations as bars, one below zero as none; the suffix of `path` names the format."""
    rows = [
        (
            TRAITS.get(name, name),
            {"accuracy": max(value, 0.0), "interval": np.clip(result["interval"][name], 0, 1)},
            True,
        )
        for name, value in result["correlation"].items()
    ]
    for baseline, found in result["baselines"].items():
        mean = max(found["mean"], 0.0)
        rows.append((f"mean, {baseline}", {"accuracy": mean, "interval": [mean, mean]}, False))
    bars(rows, path, title="Correlation of the traits read from chat with the measured ones")


def _correlations(inferred: Floats, target: Floats, seed: int) -> dict[str, Any]:
    found = _columns(inferred, target)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(target), (1000, len(target)))
    boot = np.array([_columns(inferred[draw], target[draw]) for draw in draws])
    low, high = np.quantile(boot, [0.025, 0.975], axis=0)
    means = np.quantile(boot.mean(1), [0.025, 0.975])
    names: Sequence[str] = list(TRAITS)
    return {
        "correlation": {
            **{n: round(float(v), 4) for n, v in zip(names, found, strict=True)},
            "mean": round(float(found.mean()), 4),
        },
        "interval": {
            **{n: [round(float(a), 4), round(float(b), 4)] for n, a, b in zip(names, low, high, strict=True)},
            "mean": [round(float(value), 4) for value in means],
        },
    }


def _columns(first: Floats, second: Floats) -> Floats:
    a, b = first - first.mean(0), second - second.mean(0)
    norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.asarray(np.divide((a * b).sum(0), norm, out=np.zeros(a.shape[1]), where=norm > 0))
