"""The lists of words in data/words.toml."""

import tomllib
from functools import cache
from importlib.resources import files

__all__ = ["counted"]


def counted(name: str) -> frozenset[str]:
    """A list of words.

    Example:
        >>> "boring" in counted("cold")
        True
    """
    return _lists()[name]


@cache
def _lists() -> dict[str, frozenset[str]]:
    text = files("persona_align.inference").joinpath("data/words.toml").read_text(encoding="utf-8")
    return {name: frozenset(words.split()) for name, words in tomllib.loads(text).items()}
