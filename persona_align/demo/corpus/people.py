"""Simulated people who answer questionnaires, and what an ideal reader would expect of them.

A person is a draw of thirty correlated facets and one agreement bias; an answer is a rounded Gaussian around what the
facet, the statement's difficulty and the bias say. Because all of it is Gaussian, what the answers seen so far say
about the next one has a closed form: the model is trained on these probabilities instead of on single noisy answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_align.demo.corpus.statements import FACETS, TRAITS, Statement

__all__ = ["Beliefs", "Population", "calibration_people", "evaluated_people"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CUTS = np.array([1.5, 2.5, 3.5, 4.5])
_LEVELS = np.array([-0.8416, -0.2533, 0.2533, 0.8416])
"""Quintiles of a standard normal."""


def calibration_people(people: int, *, seed: int = 0) -> list[int]:
    """Which half of some real people may shape the population; the others are only ever evaluated.

    Example:
        >>> len(calibration_people(150))
        75
    """
    return sorted(np.random.default_rng(seed).permutation(people)[: people // 2].tolist())


def evaluated_people(people: int, *, seed: int = 0) -> list[int]:
    """The other half: those whom the generator never saw."""
    return sorted(set(range(people)) - set(calibration_people(people, seed=seed)))


@dataclass(frozen=True)
class Population:
    """Who may be drawn, and how they answer each of some statements.

    Attributes:
        covariance: Of the thirty facets and the bias, [31, 31].
        loadings: Of the statements' trait-scored answers on those, [statements, 31].
        means: Of the trait-scored answers, [statements].
        noise: Standard deviation of what the facets leave open, [statements].
        signs: 1 or -1, [statements].
    """

    covariance: Floats
    loadings: Floats
    means: Floats
    noise: Floats
    signs: Ints

    @classmethod
    def usual(cls, statements: Sequence[Statement]) -> "Population":
        """A population with the correlations that questionnaires usually show, fitted to nobody."""
        covariance = _covariance(_usual_facets(), bias=0.2)
        loadings, means = np.zeros((len(statements), 31)), np.empty(len(statements))
        for row, statement in enumerate(statements):
            loadings[row, FACETS.index(statement.facet)] = 0.7
            loadings[row, 30] = statement.sign
            means[row] = 2.7 if statement.facet[0] == "N" else 3.5
        return cls(covariance, loadings, means, np.full(len(statements), 0.85), _signs(statements))

    @classmethod
    def calibrated(cls, statements: Sequence[Statement], answers: Sequence[Sequence[int]]) -> "Population":
        """A population fitted to trait-scored answers, [people][statements], 0 where missing."""
        scored = np.asarray(answers, dtype=float)
        scored[scored == 0] = np.nan
        means = np.nanmean(scored, axis=0)
        filled = np.where(np.isnan(scored), means, scored)
        signs = _signs(statements)
        facet = np.array([FACETS.index(s.facet) for s in statements])
        facets = np.stack([filled[:, facet == j].mean(axis=1) for j in range(30)], axis=1)
        z = (facets - facets.mean(axis=0)) / facets.std(axis=0)
        bias = _bias(filled - means, signs, facet)
        covariance = _covariance(0.9 * np.cov(z.T) + 0.1 * np.eye(30), bias=bias)
        loadings = np.zeros((len(statements), 31))
        for row in range(len(statements)):
            # A facet score holds the answer itself, so the raw covariance is a little too large: 0.92 takes that out.
            loadings[row, facet[row]] = 0.92 * np.cov(filled[:, row], z[:, facet[row]])[0, 1]
            loadings[row, 30] = signs[row]
        explained = np.einsum("si,ij,sj->s", loadings, covariance, loadings)
        noise = np.sqrt(np.maximum(filled.var(axis=0, ddof=1) - explained, 0.1))
        return cls(covariance, loadings, means, noise, signs)

    def draw(self, people: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
        """The facets and bias of some people, [people, 31], and their agreement with each statement, 1..5."""
        root = np.linalg.cholesky(self.covariance)
        latent = rng.standard_normal((people, 31)) @ root.T
        noise = rng.standard_normal((people, len(self.means))) * self.noise
        scored = np.clip(np.rint(self.means + latent @ self.loadings.T + noise), 1, 5).astype(np.int64)
        return latent, self.agreement(scored)

    def agreement(self, scored: Ints) -> Ints:
        """Trait-scored answers as agreement with the statements, and the other way round."""
        return np.where(self.signs < 0, 6 - scored, scored)

    def levels(self, latent: Floats) -> Ints:
        """Each person's quintile, 0..4, on the five traits in the order of OCEAN, [people, 5]."""
        traits, scale = _traits(), self._trait_scale()
        standard = latent[:, :30] @ traits.T / scale
        return np.asarray((standard[:, :, None] > _LEVELS).sum(axis=2))

    def levels_of(self, scored: Floats, statements: Sequence[Statement]) -> Ints:
        """The same for real people, from their mean trait-scored answers; NaN where missing."""
        facet_trait = np.array([TRAITS.index(s.facet[0]) for s in statements])
        standard = np.empty((len(scored), 5))
        for j in range(5):
            own = facet_trait == j
            mean = np.nanmean(scored[:, own], axis=1)
            expected = self.means[own].mean()
            weight = self.loadings[own].mean(axis=0)
            spread = np.sqrt(weight @ self.covariance @ weight + (self.noise[own] ** 2).mean() / own.sum())
            standard[:, j] = (mean - expected) / spread
        return np.asarray((standard[:, :, None] > _LEVELS).sum(axis=2))

    def beliefs(self, people: int) -> "Beliefs":
        """What is known of some people before they have said anything."""
        return Beliefs(self, np.zeros((people, 31)), np.repeat(self.covariance[None], people, axis=0))

    def _trait_scale(self) -> Floats:
        traits = _traits()
        return np.asarray(np.sqrt(np.einsum("ti,ij,tj->t", traits, self.covariance[:30, :30], traits)))


class Beliefs:
    """A Gaussian over the facets of some people, narrowed by what they tell and answer."""

    def __init__(self, population: Population, mean: Floats, covariance: Floats) -> None:
        self.population, self.mean, self.covariance = population, mean, covariance

    def tell(self, levels: Ints, who: NDArray[np.bool_]) -> None:
        """Condition on the trait quintiles, [people, 5], of those people where `who` is true."""
        scale = self.population._trait_scale()
        for j, row in enumerate(_traits()):
            weight = np.concatenate([row / scale[j], [0.0]])
            gain = self.covariance @ weight
            centre, variance = self.mean @ weight, np.maximum(gain @ weight, 1e-6)
            seen_mean, seen_variance = _truncated(centre, variance, levels[:, j])
            shift = np.where(who, (seen_mean - centre) / variance, 0.0)
            shrink = np.where(who, (variance - seen_variance) / variance**2, 0.0)
            self.mean = self.mean + gain * shift[:, None]
            self.covariance = self.covariance - gain[:, :, None] * gain[:, None, :] * shrink[:, None, None]

    def probabilities(self, statements: Ints) -> Floats:
        """How likely each person is to agree 1..5 with one statement each, [people, 5]."""
        population = self.population
        h = population.loadings[statements]
        centre = population.means[statements] + np.einsum("pi,pi->p", h, self.mean)
        variance = np.einsum("pi,pij,pj->p", h, self.covariance, h) + population.noise[statements] ** 2
        below = _phi((_CUTS - centre[:, None]) / np.sqrt(variance)[:, None])
        edges = np.concatenate([np.zeros((len(h), 1)), below, np.ones((len(h), 1))], axis=1)
        scored = np.diff(edges, axis=1)
        return np.where(population.signs[statements][:, None] < 0, scored[:, ::-1], scored)

    def answer(self, statements: Ints, agreement: Ints) -> None:
        """Condition on each person's agreement with one statement each."""
        population = self.population
        h = population.loadings[statements]
        scored = np.where(population.signs[statements] < 0, 6 - agreement, agreement)
        gain = np.einsum("pij,pj->pi", self.covariance, h)
        variance = np.einsum("pi,pi->p", gain, h) + population.noise[statements] ** 2
        surprise = scored - population.means[statements] - np.einsum("pi,pi->p", h, self.mean)
        self.mean = self.mean + gain * (surprise / variance)[:, None]
        self.covariance = self.covariance - gain[:, :, None] * gain[:, None, :] / variance[:, None, None]


def _signs(statements: Sequence[Statement]) -> Ints:
    return np.array([statement.sign for statement in statements], dtype=np.int64)


def _traits() -> Floats:
    """The mean of each trait's six facets as a matrix, [5, 30]."""
    return np.kron(np.eye(5), np.full((1, 6), 1 / 6))


def _usual_facets() -> Floats:
    between = np.array(
        [
            [1.0, 0.0, 0.25, 0.05, -0.05],
            [0.0, 1.0, 0.2, 0.25, -0.4],
            [0.25, 0.2, 1.0, 0.1, -0.35],
            [0.05, 0.25, 0.1, 1.0, -0.2],
            [-0.05, -0.4, -0.35, -0.2, 1.0],
        ]
    )
    return 0.5 * np.eye(30) + 0.5 * np.kron(between, np.ones((6, 6)))


def _covariance(facets: Floats, bias: float) -> Floats:
    whole = np.zeros((31, 31))
    whole[:30, :30] = facets
    whole[30, 30] = bias**2
    return whole + 1e-6 * np.eye(31)


def _bias(centred: Floats, signs: Ints, facet: Ints) -> float:
    """The standard deviation of agreeing whatever the statement says, over facets with statements of both signs."""
    both = [j for j in range(30) if {1, -1} <= set(signs[facet == j].tolist())]
    if not both:
        return 0.2
    rows = [
        (centred[:, (facet == j) & (signs > 0)].mean(axis=1) - centred[:, (facet == j) & (signs < 0)].mean(axis=1)) / 2
        for j in both
    ]
    return float(np.std(np.mean(rows, axis=0)))


def _phi(x: Floats) -> Floats:
    """The normal distribution function, exact to 2e-7 (Abramowitz and Stegun 7.1.26), without scipy."""
    y = np.abs(x) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * y)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    error = 1 - poly * np.exp(-(y**2))
    return np.asarray(0.5 * (1 + np.sign(x) * error))


def _truncated(centre: Floats, variance: Floats, level: Ints) -> tuple[Floats, Floats]:
    """Mean and variance of a normal known to lie in a quintile of the standard normal."""
    edges = np.concatenate([[-8.0], _LEVELS, [8.0]])
    spread = np.sqrt(variance)
    low, high = (edges[level] - centre) / spread, (edges[level + 1] - centre) / spread
    low, high = np.clip(low, -6, 6), np.clip(high, -6, 6)
    mass = np.maximum(_phi(high) - _phi(low), 1e-6)
    density_low, density_high = np.exp(-(low**2) / 2) / np.sqrt(2 * np.pi), np.exp(-(high**2) / 2) / np.sqrt(2 * np.pi)
    first = (density_low - density_high) / mass
    second = 1 + (low * density_low - high * density_high) / mass - first**2
    return centre + spread * np.clip(first, -6, 6), variance * np.clip(second, 0.01, 1.0)
