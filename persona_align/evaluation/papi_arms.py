"""The arms of the PAPI comparison: for each, what the model would answer as each person, and what that cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.conditioning.layouts import preferences_block
from persona_align.conditioning.pba import STRONG, pba_line
from persona_align.evaluation.papi_answers import Sheet
from persona_align.evaluation.papi_data import Items, People
from persona_align.evaluation.papi_scoring import trait_scores
from persona_align.preferences import PreferenceVector
from persona_align.steering.basis import SteeringBasis
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.search import ActivationSearch, Method

__all__ = ["Answered", "Study", "trait_vectors"]

Floats = NDArray[np.float64]
_KEYS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
_MIDDLING, _OUTER_FIFTH = 0.2533, 0.8416
"""Limits of the fifths of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Answered:
    """One arm.

    Attributes:
        predicted: The model's answers to the held-out statements, [people, statements].
        fit_seconds: Optimisation per person, what all people share excluded.
        shared_seconds: What is done once for all people.
        prompt_tokens: Tokens added to each prompt.
        people: Which of the evaluated people were tried.
        seen: What the arm looked at beyond the training answers, where that is anything.
    """

    predicted: Floats
    fit_seconds: float = 0.0
    shared_seconds: float = 0.0
    prompt_tokens: float = 0.0
    people: tuple[int, ...] | None = None
    seen: str = ""


@dataclass
class Study:
    """The people, the statements and the model that all arms share.

    Attributes:
        people: The evaluated people.
        others: People who are not evaluated, for norms and baselines.
        items: The item key.
        sheet: The held-out statements.
        search: Fitted on the training statements, made on first use.
        capture_seconds: What making it took.
    """

    people: People
    others: People
    items: Items
    sheet: Sheet
    seed: int = 0
    cache: Path | None = None
    batch: int = 16
    capture_seconds: float = 0.0
    _search: ActivationSearch | None = None

    @property
    def training(self) -> Floats:
        """The people's answers to the training statements, [people, training statements]."""
        return self.people.agreement[:, self.items.train]

    @property
    def statements(self) -> list[str]:
        """The training statements."""
        return [text for text, train in zip(self.items.texts, self.items.train, strict=True) if train]

    @property
    def search(self) -> ActivationSearch:
        """Activations and gradients of the training statements, captured once."""
        if self._search is None:
            started = time.perf_counter()
            self._search = ActivationSearch(
                self.sheet.steered.model, self.sheet.tokenizer, self.statements, cache=self.cache, batch=self.batch
            )
            self.capture_seconds = time.perf_counter() - started
        return self._search

    def base(self) -> Answered:
        """The model as it is."""
        return Answered(np.repeat(self.sheet.answers(), len(self.people), axis=0))

    def told(self) -> Answered:
        """Each person's five traits, in words, in front of the questionnaire."""
        personas = [preferences_block([pba_line(r) for r in v.confident()]) for v in trait_vectors(self)]
        return self._prompted(lambda person: {"persona": personas[person]})

    def few_shot(self, shots: int) -> Answered:
        """Some of the person's own answers as earlier turns of the conversation."""
        rng = np.random.default_rng(self.seed)
        orders = [rng.permutation(len(self.statements)) for _ in range(len(self.people))]

        def shown(person: int) -> dict[str, Any]:
            row = self.training[person]
            chosen = [k for k in orders[person] if not np.isnan(row[k])][:shots]
            return {"answered": [(self.statements[k], int(row[k])) for k in chosen]}

        return self._prompted(shown)

    def _prompted(self, prompt: Callable[[int], dict[str, Any]]) -> Answered:
        rows = [self.sheet.answers(**prompt(person))[0] for person in range(len(self.people))]
        tokens = np.mean([self.sheet.prompt_tokens(**prompt(person)) for person in range(len(self.people))])
        return Answered(np.stack(rows), prompt_tokens=float(tokens))

    def pas(self, method: Method, *, answers: Floats | None = None) -> Answered:
        """Offsets fitted to each person's answers.

        Args:
            method: How they are fitted.
            answers: Other answers to fit to, for the null test; None takes the people's own.
        """
        search, given = self.search, self.training if answers is None else answers
        started = time.perf_counter()
        offsets = search.fit_many(given, method=method, seed=self.seed)
        return self.steered(offsets, time.perf_counter() - started, shared=self.capture_seconds)

    def basis(self, basis: SteeringBasis) -> Answered:
        """Offsets of the preference basis, from each person's five traits."""
        started = time.perf_counter()
        offsets = [basis.offsets(vector) for vector in trait_vectors(self)]
        return self.steered(offsets, time.perf_counter() - started)

    def steered(self, offsets: Sequence[ActivationOffsets | None], seconds: float, *, shared: float = 0.0) -> Answered:
        """What the model answers under each person's offsets."""
        predicted = self.sheet.answers(list(offsets))
        return Answered(predicted, fit_seconds=seconds / len(self.people), shared_seconds=shared)


def trait_vectors(study: Study) -> list[PreferenceVector]:
    """Each person's traits as preferences, from their training answers against the norm of the others.

    A trait is left out within a quarter of a standard deviation of the others' mean, and strong from 0.84 on, the limit
    of the outer fifths; confidence is full.
    """
    norm = trait_scores(study.others.agreement, study.items, use=study.items.train)
    own = trait_scores(study.people.agreement, study.items, use=study.items.train)
    z = np.nan_to_num((own - np.nanmean(norm, axis=0)) / np.maximum(np.nanstd(norm, axis=0), 1e-6))
    values = np.where(np.abs(z) < _MIDDLING, 0.0, np.clip(z * STRONG / _OUTER_FIFTH, -1, 1))
    return [
        PreferenceVector.of({key: float(value) for key, value in zip(_KEYS, row, strict=True) if value})
        for row in values
    ]
