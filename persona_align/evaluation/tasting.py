"""Cases as numbers: every text encoded once, and the tastes of all users scored on all tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, Encoding
from persona_align.evaluation.cases import Case
from persona_align.evaluation.intervals import over_people
from persona_align.inference.style_space import StyleSpace, open_style_space, style_features
from persona_align.inference.taste import Taste, comparison_numbers

__all__ = ["Bench", "accuracy"]

Floats = NDArray[np.float64]
BATCH = 256


@dataclass(frozen=True, eq=False)
class Bench:
    """Cases with the encodings of their texts.

    Args:
        cases: The cases.
        encodings: By text.
        encoder: Made them.
    """

    cases: Sequence[Case]
    encodings: dict[str, Encoding]
    encoder: Encoder

    @classmethod
    def of(cls, cases: Sequence[Case], encoder: Encoder, progress: Callable[[int, int], None] | None = None) -> "Bench":
        """Encode every text of the cases once."""
        texts = sorted({text for case in cases for text in _texts(case)})
        encodings: dict[str, Encoding] = {}
        for first in range(0, len(texts), BATCH):
            batch = texts[first : first + BATCH]
            encodings.update(zip(batch, encoder.encode(batch), strict=True))
            if progress is not None:
                progress(len(encodings), len(texts))
        return cls(cases, encodings, encoder)

    @cached_property
    def space(self) -> StyleSpace:
        """The style space in use."""
        return open_style_space(self.encoder)

    @cached_property
    def tests(self) -> Floats:
        """Shape [cases, k]: chosen minus rejected of each test, in the style space."""
        return np.stack([self._shift(case.chosen) - self._shift(case.rejected) for case in self.cases])

    @cached_property
    def tastes(self) -> list[Taste]:
        """The taste of each case's user."""
        return [self._taste(case) for case in self.cases]

    def taste(self, number: int, comparisons: int | None = None) -> Taste:
        """The taste that the first comparisons of a case show."""
        whole = self.tastes[number]
        return Taste(space=self.space, shifts=whole.shifts[:comparisons], prompts=whole.prompts[:comparisons])

    def _taste(self, case: Case) -> Taste:
        numbers = [
            comparison_numbers(
                self.encodings[pair.prompt] if pair.prompt else None,
                self.encodings[pair.chosen],
                self.encodings[pair.rejected],
            )
            for pair in case.comparisons
        ]
        return Taste.fit(numbers, encoder=self.encoder, space=self.space)

    def margin(self, taste: Taste, number: int) -> float:
        """The log odds of chosen against rejected in a case's test, for a taste."""
        if taste.abstains:
            return 0.0
        return float(self.tests[number] @ taste.direction(self.encodings[self.cases[number].prompt].content))

    def content_margin(self, number: int) -> float:
        """The same by the final layer alone: no style, no prior."""
        case = self.cases[number]
        liked = sum(
            (self.encodings[pair.chosen].content - self.encodings[pair.rejected].content for pair in case.comparisons),
            np.zeros(self.encoder.dimension, np.float32),
        )
        return float(liked @ (self.encodings[case.chosen].content - self.encodings[case.rejected].content))

    def lower_layers_margin(self, number: int) -> float:
        """The same by the mean-pooled lower layers, neither scaled nor with a prior."""
        case = self.cases[number]
        liked = np.zeros_like(self.encodings[case.chosen].style)
        for pair in case.comparisons:
            liked = liked + self.encodings[pair.chosen].style - self.encodings[pair.rejected].style
        return float(liked @ (self.encodings[case.chosen].style - self.encodings[case.rejected].style))

    def _shift(self, text: str) -> Floats:
        return (self.space.basis @ style_features(self.encodings[text])).astype(np.float64)


def accuracy(right: Sequence[float], prompts: Sequence[str], seed: int) -> dict[str, Any]:
    """The mean, with a 95 % bootstrap interval that resamples whole prompts, since cases share them.

    Args:
        right: 1.0 where chosen was ranked first, 0.0 where not, 0.5 for an abstention; or a mean of such.
        prompts: The test prompt of each case.
        seed: Of the bootstrap.

    Returns:
        "accuracy", "interval" and "cases".
    """
    names, groups = np.unique(np.array(prompts), return_inverse=True)
    sums = np.bincount(groups, np.asarray(right, dtype=np.float64))
    sizes = np.bincount(groups)
    interval = over_people(lambda counts: float(counts @ sums) / max(float(counts @ sizes), 1.0), len(names), seed=seed)
    return {
        "accuracy": round(interval.value, 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "cases": len(right),
    }


def _texts(case: Case) -> list[str]:
    pairs = [text for pair in case.comparisons for text in pair.texts]
    return [text for text in (case.prompt, case.chosen, case.rejected, *pairs) if text]
