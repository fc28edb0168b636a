"""What a comparison says of how its author likes to be answered: the chosen reply against the rejected one."""

import math
import re

import numpy as np
from numpy.typing import NDArray

from persona_align.preferences import PreferenceSpace
from persona_align.records import Comparison

__all__ = ["comparison_evidence"]

_WORD = re.compile(r"\w+(?:'\w+)?")
_WEIGHT = 0.3
"""A choice between two replies has many reasons; it counts less than a sentence that says what is liked."""
_LENGTH = math.log(1.25)
"""Replies whose lengths differ by less say nothing about conciseness."""
_LONG_WORDS = 0.04
"""The same for the share of words of eight letters and more, and complexity."""


def comparison_evidence(
    record: Comparison, space: PreferenceSpace
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Dimensions, values and weights of what a comparison says.

    Only what can be measured on the replies themselves counts: their length, and how long their words are. The taste
    learns the rest.

    Example:
        >>> from persona_align.preferences import ALIGNX
        >>> short = Comparison(prompt="Why?", chosen="Because of rain.", rejected="There are many reasons. " * 9)
        >>> dimensions, values, _ = comparison_evidence(short, ALIGNX)
        >>> ALIGNX.keys[dimensions[0]], bool(values[0] > 0)
        ('conciseness', True)
    """
    chosen, rejected = _WORD.findall(record.chosen), _WORD.findall(record.rejected)
    found = []
    if chosen and rejected:
        shorter = math.log((len(rejected) + 2) / (len(chosen) + 2))
        if abs(shorter) > _LENGTH:
            found.append(("conciseness", math.tanh(shorter)))
        if min(len(chosen), len(rejected)) >= 15:
            longer_words = _long(chosen) - _long(rejected)
            if abs(longer_words) > _LONG_WORDS:
                found.append(("complexity", math.tanh(6 * longer_words)))
    found = [(key, value) for key, value in found if key in space]
    return (
        np.array([space.index(key) for key, _ in found], dtype=np.int64),
        np.array([value for _, value in found], dtype=np.float32),
        np.array([_WEIGHT * abs(value) for _, value in found], dtype=np.float32),
    )


def _long(words: list[str]) -> float:
    return sum(len(word) >= 8 for word in words) / len(words)
