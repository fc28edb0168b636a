"""How warm or cold the words of a sentence are, with what turns them round."""

import re

import numpy as np
from numpy.typing import NDArray

from persona_align.inference.words import counted

__all__ = ["VALENCE", "valence"]

VALENCE = ("warm", "cold", "turned", "balance", "last", "first", "less", "more", "stops")
"""The names of the features, in order."""

_WARM = counted("warm")
_COLD = counted("cold")
_TURNS = counted("turns")
_LESS = counted("less")
_MORE = counted("more")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_REACH = 4
"""A turning word reaches so many words ahead."""


def valence(sentence: str) -> NDArray[np.float32]:
    """The features of one sentence, each in [-1, 1].

    Returns:
        Shape [len(VALENCE)].

    Example:
        >>> dict(zip(VALENCE, valence("I don't enjoy crowds."), strict=True))["balance"] < 0
        np.True_
    """
    words = _WORD.findall(sentence.lower().replace("\u2019", "'"))
    signs = []
    turned = 0
    for at, word in enumerate(words):
        sign = (word in _WARM) - (word in _COLD)
        turns = sum(other in _TURNS for other in words[max(0, at - _REACH) : at])
        if sign and turns % 2:
            sign, turned = -sign, turned + 1
        signs.append(sign)
    found = [sign for sign in signs if sign]
    counts = (
        sum(sign > 0 for sign in found) / 3,
        sum(sign < 0 for sign in found) / 3,
        turned / 2,
        sum(found) / 3,
        found[-1] if found else 0,
        found[0] if found else 0,
        sum(word in _LESS for word in words) / 2,
        sum(word in _MORE for word in words) / 2,
        sum(word in _TURNS for word in words) / 3,
    )
    return np.clip(np.array(counts, dtype=np.float32), -1, 1)
