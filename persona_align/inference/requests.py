"""How people ask to be answered, plainly and by refusing the opposite: made from the parts in requests.toml."""

import random
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

__all__ = ["Request", "request_statements", "requests"]


class Request(NamedTuple):
    """A sentence about one dimension.

    Args:
        text: The sentence.
        dimension: The key of its dimension.
        pole: 1 or -1.
        source: The part that it was made from.
    """

    text: str
    dimension: str
    pole: int
    source: str


_ABOUT_THE_AUTHOR = frozenset({"order", "play", "conflict_directness"})
"""Here the verbs are what the author does, and not only what the reply should do."""
_DO = (
    "Please {v}.",
    "{V}, please.",
    "Could you {v}?",
    "I want you to {v}.",
    "It's fine to {v}.",
    "Feel free to {v}.",
    "I like it when you {v}.",
    "From now on, {v}.",
    "Always {v}.",
    "It helps when you {v}.",
    "You never {v}, I wish you did.",
    "pls {v}",
    "Don't be afraid to {v}.",
    "Don't hesitate to {v}.",
    "I wouldn't want you not to {v}.",
    "I'd hate it if you didn't {v}.",
    "Never forget to {v}.",
    "Why don't you ever {v}?",
)
_DO_NOT = (
    "Don't {v}.",
    "Please don't {v}.",
    "No need to {v}.",
    "You don't have to {v}.",
    "Never {v}.",
    "I don't want you to {v}.",
    "I hate it when you {v}.",
    "You needn't {v}.",
    "There's no reason to {v}.",
    "pls dont {v}",
    "Try not to {v}.",
    "I'd rather you didn't {v}.",
    "I don't like it when you {v}.",
    "Do not {v}.",
)
_I_DO = (
    "I {v}.",
    "I always {v}.",
    "I like to {v}.",
    "I want to {v}.",
    "I need to {v}.",
    "Let me {v}.",
    "I'd love to {v}.",
)
_I_DO_NOT = (
    "I don't {v}.",
    "I never {v}.",
    "I don't want to {v}.",
    "I'd rather not {v}.",
    "I hate to {v}.",
    "I see no need to {v}.",
    "I won't {v}.",
)
_GIVE = (
    "I like {x}.",
    "I want {x}.",
    "I prefer {x}.",
    "Give me {x}.",
    "{X} work best for me.",
    "I can't get enough of {x}.",
    "I don't mind {x}.",
    "I never mind {x}.",
    "Don't hold back on {x}.",
    "Don't spare me {x}.",
    "Nothing wrong with {x}.",
    "{X}, please.",
    "I appreciate {x}.",
    "I'd welcome {x}.",
)
_GIVE_NOT = (
    "I don't like {x}.",
    "I don't want {x}.",
    "No {x}, please.",
    "Don't give me {x}.",
    "Stop giving me {x}.",
    "Spare me {x}.",
    "I hate {x}.",
    "I don't need {x}.",
    "I have no time for {x}.",
    "Don't bore me with {x}.",
    "Don't bury me in {x}.",
    "I'm tired of {x}.",
    "I can't stand {x}.",
    "{X} annoy me.",
)
_TOO = (
    "Your replies are too {a}.",
    "That was too {a}.",
    "Don't be so {a}.",
    "Don't be too {a} with me.",
    "Not too {a}, please.",
    "That's way too {a} for me.",
    "Stop being so {a}.",
    "Your answer was a bit too {a}.",
)
_NOT_TOO = (
    "That isn't {a} enough.",
    "Your replies are never too {a} for me.",
    "You can't be too {a} for me.",
    "Be as {a} as you like.",
    "A bit more {a}, please.",
    "I like it {a}.",
    "Nothing is too {a} for me.",
)
_I_AM = ("I'm {a}.", "I like being {a}.", "People call me {a}.", "I'm never sorry for being {a}.")
_I_AM_NOT = ("I'm not {a}.", "I don't like being {a}.", "I'm never {a}.", "Nobody would call me {a}.")
_JOINTS = (" and ", ", please ", ", ", "; ", ", and ", ", so ")


@cache
def request_statements() -> dict[tuple[str, int], tuple[str, ...]]:
    """Statements that stand for a pole beside its own, by key and side (0 high, 1 low)."""
    return {
        (key, side): (*words[name], *(_denied(key, verb) for verb in words[f"{other}_verbs"]))
        for key, words in _parts().items()
        for side, (name, other) in enumerate((("high", "low"), ("low", "high")))
    }


def requests(rng: random.Random, per_part: int = 5) -> Iterator[Request]:
    """Further sentences of the same dimensions, plain, denied and joined in twos.

    Args:
        rng: Draws the frames.
        per_part: How many frames are drawn for each part, plain and denied.
    """
    for key, words in _parts().items():
        own = key in _ABOUT_THE_AUTHOR
        made: dict[int, list[Request]] = {1: [], -1: []}
        for pole, name in ((1, "high"), (-1, "low")):
            for kind, hole, yes, no in (
                ("verbs", "v", _I_DO if own else _DO, _I_DO_NOT if own else _DO_NOT),
                ("things", "x", _GIVE, _GIVE_NOT),
                ("adjectives", "a", _I_AM if own else _NOT_TOO, _I_AM_NOT if own else _TOO),
            ):
                for part in words[f"{name}_{kind}"]:
                    for frames, sign in ((yes, pole), (no, -pole)):
                        for frame in rng.sample(frames, min(per_part, len(frames))):
                            text = frame.format(**{hole: part, hole.upper(): part[:1].upper() + part[1:]})
                            made[sign].append(Request(text, key, sign, part))
        for pole, found in made.items():
            yield from found
            for _ in range(len(found) // 3):
                yield _joined(rng, rng.sample(found, 2), pole)


def _joined(rng: random.Random, pair: list[Request], pole: int) -> Request:
    first, second = pair
    end = second.text if second.text.startswith(("I ", "I'")) else second.text[:1].lower() + second.text[1:]
    text = first.text.rstrip(".?") + rng.choice(_JOINTS) + end
    return Request(text, first.dimension, pole, first.source)


def _denied(key: str, verb: str) -> str:
    return f"I don't {verb}." if key in _ABOUT_THE_AUTHOR else f"Please don't {verb}."


def _parts() -> dict[str, Any]:
    path = files("persona_align.inference").joinpath("data/requests.toml")
    parts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return parts
