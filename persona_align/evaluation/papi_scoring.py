"""Scores over the PAPI answers: traits and facets of a person, errors of a prediction, and what costs nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import MissingExtraError
from persona_align.evaluation.papi_data import TRAITS, Items

__all__ = ["absolute_errors", "composite", "facet_scores", "held_out", "norms", "trait_scores", "trivial_predictions"]

Floats = NDArray[np.float64]


def trait_scores(agreement: Floats, items: Items, *, use: NDArray[np.bool_] | None = None) -> Floats:
    """The mean trait score of each person, 1 to 5, [people, 5] in the order of "OCEAN"; NaN where nothing is known.

    Args:
        agreement: Raw agreement, NaN missing, [people, items].
        items: The item key, by which reverse-keyed answers are turned round.
        use: Which statements count, [items]; None takes all.
    """
    groups = [items.traits == trait for trait in range(len(TRAITS))]
    return _group_means(agreement, items, groups, use)


def facet_scores(agreement: Floats, items: Items, *, use: NDArray[np.bool_] | None = None) -> Floats:
    """The mean score of each person on each facet, in the alphabetical order of the facet keys, [people, facets]."""
    facets = np.array(items.facets)
    return _group_means(agreement, items, [facets == facet for facet in sorted(set(items.facets))], use)


def norms(agreement: Floats, items: Items, sex: int, age: float) -> Mapping[str, float]:
    """One person's traits against Johnson's norms for their sex and age: T scores, 50 on average.

    Args:
        agreement: The person's raw agreement with all 300 statements, [300]; missing ones count as neutral.
        items: The item key.
        sex: 1 for male, 2 for female, else the mean of both norms.
        age: In years.

    Raises:
        MissingExtraError: The package `five-factor-e` is not installed.
    """
    try:
        from ipipneo import IpipNeo
        from ipipneo.norm import Norm
    except ImportError as error:
        raise MissingExtraError("Norms need five-factor-e.", 'pip install "persona-align[eval]"') from error
    if len(items) != 300:
        msg = f"norms are defined for the 300 statements, not {len(items)}"
        raise ValueError(msg)
    keyed = np.where(items.signs < 0, 6 - agreement, agreement)
    inventory = IpipNeo(question=300)
    facets = inventory.score(answers=[int(value) for value in np.nan_to_num(keyed, nan=3.0)])
    table = Norm(sex={1: "M", 2: "F"}.get(sex, "N"), age=int(age), nquestion=300)
    scores: Any = Norm.calc(domain=inventory.domain(score=facets), norm=table)
    return {trait: float(scores[trait]) for trait in TRAITS}


def held_out(items: Items) -> Items:
    """The key of the statements that are predicted."""
    rows = np.flatnonzero(~items.train)
    return Items(
        numbers=tuple(items.numbers[k] for k in rows),
        texts=tuple(items.texts[k] for k in rows),
        signs=items.signs[rows],
        facets=tuple(items.facets[k] for k in rows),
        train=items.train[rows],
    )


def absolute_errors(predicted: Floats, agreement: Floats) -> Floats:
    """The distance of a prediction from each answer, [people, items]; NaN where the person gave none.

    Args:
        predicted: Predicted agreement, [people, items] or [items] for all alike; NaN (nothing could be read) counts as
            the worst possible answer, so that an unreadable reply never helps.
        agreement: The true agreement, NaN missing, [people, items].
    """
    worst = np.maximum(np.abs(agreement - 1), np.abs(agreement - 5))
    errors = np.abs(predicted - agreement)
    return np.where(np.isnan(agreement), np.nan, np.where(np.isnan(errors), worst, errors))


def composite(errors: Floats, items: Items, *, weights: NDArray[np.int64] | None = None) -> tuple[float, Floats]:
    """The sum over the five traits of the mean absolute error, and the five means; lower is better.

    Args:
        errors: From `absolute_errors`, [people, items].
        items: The key of those items.
        weights: How often each person counts, [people], for a bootstrap; None counts each once.

    Source:
        arXiv 2408.11779, section 5.
    """
    counts = np.ones(len(errors)) if weights is None else weights
    per_trait = np.empty(len(TRAITS))
    for trait in range(len(TRAITS)):
        part = errors[:, items.traits == trait]
        known = (~np.isnan(part)).sum(axis=1)
        per_trait[trait] = counts @ np.nansum(part, axis=1) / max(float(counts @ known), 1.0)
    return float(per_trait.sum()), per_trait


def trivial_predictions(people: Floats, items: Items, others: Floats) -> dict[str, Floats]:
    """What predicts the held-out answers without any model.

    Args:
        people: The evaluated people's agreement, [people, items]; only their training answers are looked at.
        items: The item key.
        others: Agreement of people who are not evaluated, [others, items]: medians and regressions come from them.

    Returns:
        Predicted agreement with the test items, [people, test items], per baseline.
    """
    test = ~items.train
    count = int(test.sum())
    flip = np.where(items.signs[test] < 0, -1.0, 1.0)
    traits = trait_scores(people, items, use=items.train)[:, items.traits[test]]
    keys = sorted(set(items.facets))
    facets = facet_scores(people, items, use=items.train)
    facets = facets[:, [keys.index(facet) for facet, held in zip(items.facets, test, strict=True) if held]]
    facets = np.where(np.isnan(facets), traits, facets)
    return {
        "always C": np.full((len(people), count), 3.0),
        "item median of others": np.tile(np.nanmedian(others[:, test], axis=0), (len(people), 1)),
        "own trait mean": _rounded(3.0 + flip * (np.nan_to_num(traits, nan=3.0) - 3.0)),
        "own facet mean": _rounded(3.0 + flip * (np.nan_to_num(facets, nan=3.0) - 3.0)),
        "ridge from the training answers": _ridge(people, items, others),
    }


def _ridge(people: Floats, items: Items, others: Floats) -> Floats:
    """A regression of the test answers on the training answers, its penalty chosen among the others alone."""
    mean = np.nanmean(others, axis=0)
    filled = np.where(np.isnan(others), mean, others)
    X, Y = filled[:, items.train] - mean[items.train], filled[:, ~items.train] - mean[~items.train]
    gram = X @ X.T  # people x people: there are fewer others than answers
    best, smallest = np.zeros_like(gram), np.inf
    for penalty in np.geomspace(0.1, 30.0, 12) * max(float(np.trace(gram)) / len(gram), 1e-9):
        inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
        left_out = (inverse @ Y) / np.diag(inverse)[:, None]
        if (error := float((left_out**2).mean())) < smallest:
            best, smallest = inverse, error
    own = np.where(np.isnan(people), mean, people)[:, items.train] - mean[items.train]
    return _rounded(mean[~items.train] + own @ (X.T @ (best @ Y)))


def _rounded(values: Floats) -> Floats:
    rounded: Floats = np.clip(np.round(values), 1, 5)
    return rounded


def _group_means(
    agreement: Floats, items: Items, groups: list[NDArray[np.bool_]], use: NDArray[np.bool_] | None
) -> Floats:
    keyed = np.where(items.signs < 0, 6 - agreement, agreement)
    means = np.full((len(agreement), len(groups)), np.nan)
    for k, group in enumerate(groups):
        part = keyed[:, group if use is None else group & use]
        known = (~np.isnan(part)).sum(axis=1)
        means[:, k] = np.where(known > 0, np.nansum(part, axis=1) / np.maximum(known, 1), np.nan)
    return means
