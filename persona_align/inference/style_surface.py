"""What can be counted on the surface of a text: length, long words, punctuation, person; no encoder needed."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURFACE", "surface_features"]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_VOWELS = re.compile(r"[aeiouyäöüáéíóúàèìòùâêîôû]+", re.IGNORECASE)
_FIRST = frozenset({"i", "me", "my", "mine", "we", "us", "our", "i'm", "i've", "i'd", "i'll", "we're", "let's"})
_SECOND = frozenset({"you", "your", "yours", "yourself", "you're", "you've", "you'd", "you'll"})

SURFACE = (
    "words",
    "sentence_words",
    "word_letters",
    "word_syllables",
    "long_words",
    "many_syllables",
    "exclamations",
    "questions",
    "commas",
    "semicolons",
    "brackets",
    "quotes",
    "dashes",
    "digits",
    "capitals",
    "contractions",
    "first_person",
    "second_person",
    "symbols",
)
"""The names of the features, in order."""


def surface_features(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Shape [19]: the surface features of a text, each compressed so that a long text does not dwarf the others.

    Args:
        sentences: The sentences of one text.

    Example:
        >>> features = dict(zip(SURFACE, surface_features(["Stop!", "You can't do that."]), strict=True))
        >>> round(float(features["exclamations"]), 2), float(features["digits"])
        (0.41, 0.0)
    """
    text = "\n".join(sentences)
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    letters = np.array([len(word) for word in words] or [0])
    syllables = np.array([len(_VOWELS.findall(word)) for word in words] or [0])
    n, s = max(len(words), 1), max(len(sentences), 1)

    def share(count: float, per: int) -> float:
        return float(np.log1p(count / per))

    values = (
        np.log1p(len(words)),
        np.log1p(len(words) / s),
        letters.mean(),
        syllables.mean(),
        (letters >= 7).mean(),
        (syllables >= 3).mean(),
        share(text.count("!"), s),
        share(text.count("?"), s),
        share(text.count(","), n),
        share(text.count(";") + text.count(":"), n),
        share(text.count("(") + text.count("["), n),
        share(sum(text.count(mark) for mark in '"“”«»'), n),
        share(sum(text.count(mark) for mark in ("–", "—", " - ", "...", "…")), n),
        share(sum(char.isdigit() for char in text), n),
        share(sum(char.isupper() for char in text), n),
        share(sum("'" in word for word in words), n),
        share(sum(word in _FIRST for word in words), n),
        share(sum(word in _SECOND for word in words), n),
        share(sum(ord(char) > 0x2190 for char in text), n),
    )
    return np.array(values, dtype=np.float32)
