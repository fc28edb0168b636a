"""The written texts of the corpus: topics, marks of style, things people say."""

import random
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from persona_align.inference.corpus import trait_statements
from persona_align.inference.requests import request_statements
from persona_align.inference.sentences import messages
from persona_align.preferences import ALIGNX

__all__ = [
    "DIMENSIONS",
    "HELD_OUT",
    "POLES",
    "Topic",
    "anything",
    "marks",
    "other",
    "said",
    "topics",
    "unsaid",
    "varied",
]

DIMENSIONS: tuple[str, ...] = (
    "conciseness",
    "humor",
    "extraversion",
    "agreeableness",
    "neuroticism",
    "openness",
    "conscientiousness",
    "order",
    "conflict_directness",
    "complexity",
    "casual_interaction",
    "play",
    "music",
    "fitness",
    "gaming",
    "gourmet",
)
"""The dimensions whose effect on a reply a reader can see."""

POLES = ("high", "low")
HELD_OUT = 2
"""As many of each topic's questions, and of each pole's anchor statements, are kept from training."""

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Topic:
    """An everyday topic: how it is asked for, and what there is to say about it."""

    key: str
    thing: str
    doing: str
    ask: tuple[str, ...]
    usual: tuple[str, ...]
    classic: tuple[str, ...]
    novel: tuple[str, ...]
    why: tuple[str, ...]
    steps: tuple[str, ...]
    tech: str
    plain: str
    care: str
    joke: str
    deep: str

    also: tuple[str, ...] = ()
    """More ways to ask, with choices in brackets, to train on."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The questions to train on."""
        return self.ask[:-HELD_OUT] if len(self.ask) > HELD_OUT else self.ask

    @property
    def held_out(self) -> tuple[str, ...]:
        """The questions that are kept from training."""
        return self.ask[-HELD_OUT:]


@cache
def topics() -> tuple[Topic, ...]:
    """All everyday topics, in a fixed order."""
    folder = files("persona_align.demo").joinpath("texts", "topics")
    also, found = _load("asked.toml"), []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
            found += [_topic(key, {**table, "also": also[key]}) for key, table in tables.items()]
    return tuple(found)


@cache
def anything() -> tuple[Topic, ...]:
    """Topics that are only a noun, so that the model learns to speak of what it is asked about."""
    table = _load("anything.toml")
    nouns: list[str] = table.pop("nouns")
    return tuple(
        _topic(noun, {k: _named(v, noun if k == "ask" else noun.replace("my ", "your ")) for k, v in table.items()})
        for noun in nouns
    )


@cache
def marks(key: str, pole: str, *, brief: bool) -> tuple[str, ...]:
    """How a pole shows in a reply; nothing where it shows by what is left out."""
    table = _load("style.toml").get(key, {}).get(pole)
    return tuple(table["short" if brief else "full"]) if table else ()


@cache
def other() -> dict[str, Any]:
    """What is said beside the topics: system prompts, small talk, requests for work, tools."""
    return _load("other.toml")


@cache
def said(key: str, pole: str) -> tuple[str, ...]:
    """Sentences of people who have this pole, to train on; with choices in brackets."""
    dimension = ALIGNX[key]
    anchors = dimension.high_statements if pole == "high" else dimension.low_statements
    side = POLES.index(pole)
    # What the evidence head learns from is written for the same dimensions.
    shared = (*trait_statements().get((key, side), ()), *request_statements().get((key, side), ()))
    kept = [text for text in (*shared, *_written()[key, pole]) if text not in anchors[-HELD_OUT:]]
    return (*_load("said.toml")[key][pole], *_load("spoken.toml")[key][pole], *anchors[:-HELD_OUT], *kept)


@cache
def unsaid() -> tuple[str, ...]:
    """Messages that show none of the dimensions, though some show others."""
    return tuple(
        message.text
        for message in messages()
        if not _known(message.says) and not (message.subject == "self" and _known(message.unsure or ()))
    )


@cache
def _written() -> dict[tuple[str, str], list[str]]:
    """The messages that the reader of dimensions learns from, where they show just one of ours."""
    found: dict[tuple[str, str], list[str]] = {(key, pole): [] for key in DIMENSIONS for pole in POLES}
    for message in messages():
        known = _known(message.says)
        if message.subject == "self" and len(known) == 1:
            found[known[0], POLES[message.says[known[0]] < 0]].append(message.text)
    return found


def _known(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key in DIMENSIONS]


def varied(text: str, rng: random.Random) -> str:
    """A text with each [a|b] replaced by one of its choices.

    Example:
        >>> varied("[Hi|Hi] there", random.Random(0))
        'Hi there'
    """
    return _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), text)


@cache
def _load(name: str) -> dict[str, Any]:
    return tomllib.loads(files("persona_align.demo").joinpath("texts", name).read_text(encoding="utf-8"))


def _topic(key: str, table: dict[str, Any]) -> Topic:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Topic(key=key, **values)


def _named(value: Any, noun: str) -> Any:
    if isinstance(value, list):
        return [_named(part, noun) for part in value]
    return str(value.replace("{noun}", noun))
