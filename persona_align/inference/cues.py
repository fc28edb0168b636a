"""Sentences that tell who somebody is and nothing of what they prefer, in twins that differ in the person only."""

import random
import tomllib
from importlib.resources import files
from typing import Any

__all__ = ["twin_cues"]


def twin_cues(rng: random.Random) -> tuple[str, str]:
    """Two cues of one kind: of a name, a place, an age, a relative, what somebody is, a dialect.

    Example:
        >>> twin_cues(random.Random(3))
        ("I'm 62 now.", "I'm 25 now.")
    """
    parts = _parts()
    kind = rng.choice(("named", "placed", "aged", "related", "self", "greetings"))
    if kind in ("self", "greetings"):
        return _two(rng, parts[kind])
    frame = rng.choice(parts[kind])
    if kind == "aged":
        young, old = rng.randint(16, 35), rng.randint(50, 88)
        return _filled(rng, frame, "age", (str(young), str(old)))
    name, fillers = {"named": ("name", "names"), "placed": ("place", "places"), "related": ("kin", "kin")}[kind]
    return _filled(rng, frame, name, _two(rng, [each.strip() for each in parts[fillers].split(",")]))


def _filled(rng: random.Random, frame: str, name: str, fillers: tuple[str, str]) -> tuple[str, str]:
    first, second = (frame.format(**{name: each}) for each in fillers)
    return (first, second) if rng.random() < 0.5 else (second, first)


def _two(rng: random.Random, options: list[str]) -> tuple[str, str]:
    first, second = rng.sample(options, 2)
    return first, second


def _parts() -> dict[str, Any]:
    path = files("persona_align.inference").joinpath("data/cues.toml")
    parts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return parts
