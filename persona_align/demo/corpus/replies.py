"""A reply to an everyday question, shaped by what the person asking prefers."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from persona_align.demo.corpus.texts import DIMENSIONS, Topic, marks, varied

__all__ = ["reply"]

_MOST_BRIEF = 3
"""Marks of style in a brief reply; more would not be brief."""
_PLAIN = (
    "[As for|When it comes to] {thing}, [you could|I suggest that you|I would say:] {vp}.",
    "[You could|I suggest that you|How about this:] {vp}.",
)
_AS_IT_IS = ("tech", "joke")
"""May start with a name."""


def reply(topic: Topic, wishes: Mapping[str, str], rng: random.Random) -> str:
    """One reply.

    Args:
        topic: What the question is about.
        wishes: Pole, "high" or "low", by dimension key; a dimension that is not there does not shape the reply.
        rng: Chooses between wordings.

    Example:
        >>> from persona_align.demo.corpus.texts import topics
        >>> reply(topics()[0], {"conciseness": "high"}, random.Random(1)).count(".")
        1
    """
    brief, thorough = wishes.get("conciseness") == "high", wishes.get("conciseness") == "low"
    if brief:
        wishes = _first(wishes, _MOST_BRIEF)
    voice = _Voice(topic, wishes, rng, brief)
    choice = rng.choice(voice.pool)
    middle = voice.mark("openness")
    if wishes.get("order") == "high":
        middle += [" ".join(f"{n}) {_upper(step)}." for n, step in enumerate(topic.steps, 1))]
    elif thorough:
        first, second, third = (_lower(step) for step in topic.steps)
        middle += [f"First {first}, then {second}, and finally {third}."]
    middle += voice.mark("order", only="low")
    middle = [*middle[:1], *_reasons(topic, voice, thorough, len(middle)), *middle[1:]]
    sentences = [
        *voice.mark("casual_interaction", only="high"),
        *voice.mark("agreeableness", only="high"),
        voice.core(choice),
        *middle,
        *voice.mark("complexity"),
        *voice.mark("conscientiousness"),
        *voice.mark("neuroticism"),
        *voice.mark("agreeableness", only="low"),
        *(sentence for key in ("music", "fitness", "gaming", "gourmet") for sentence in voice.mark(key)),
        *voice.mark("play"),
        *voice.mark("extraversion"),
        *voice.mark("humor"),
        *voice.mark("casual_interaction", only="low"),
    ]
    return " ".join(sentences)


@dataclass(frozen=True)
class _Voice:
    topic: Topic
    wishes: Mapping[str, str]
    rng: random.Random
    brief: bool

    @property
    def pool(self) -> Sequence[str]:
        """What to suggest."""
        pools = {"high": self.topic.novel, "low": self.topic.classic}
        return pools.get(self.wishes.get("openness", ""), self.topic.usual)

    def mark(self, key: str, only: str | None = None) -> list[str]:
        """The sentence that shows a pole, or none."""
        pole = self.wishes.get(key)
        if pole is None or (only and pole != only):
            return []
        wordings = marks(key, pole, brief=self.brief)
        return [self._filled(self.rng.choice(wordings))] if wordings else []

    def core(self, choice: str) -> str:
        """The suggestion itself, put as directly or gently as the person likes it."""
        pole = self.wishes.get("conflict_directness")
        if pole:
            return self._filled(self.rng.choice(marks("conflict_directness", pole, brief=self.brief)), vp=choice)
        if self.brief:
            return f"{_upper(choice)}."
        return self._filled(self.rng.choice(_PLAIN), vp=choice)

    def _filled(self, wording: str, vp: str = "") -> str:
        topic = self.topic
        text = varied(wording, self.rng)
        values = ("thing", "doing", "joke", "care", "deep", "tech", "plain")
        for name in values:
            value = getattr(topic, name)
            text = text.replace(f": {{{name}}}", f": {value if name in _AS_IT_IS else _lower(value)}")
            text = text.replace(f"{{{name}}}", value)
        return text.replace("{vp}", vp)


def _reasons(topic: Topic, voice: _Voice, thorough: bool, before: int) -> list[str]:
    """Why: at length, a little, or not at all where the reply has enough to say already."""
    if thorough:
        other = voice.rng.choice([text for text in (*topic.usual, *topic.classic) if text != voice.pool[0]])
        return [*topic.why, f"Another way would be to {other}."] if voice.rng.random() < 0.5 else list(topic.why)
    if voice.brief or before or len(voice.wishes) > 2:
        return []
    return [voice.rng.choice(topic.why)]


def _first(wishes: Mapping[str, str], most: int) -> dict[str, str]:
    """The first wishes that show in what is said, in the order of the dimensions, so that nothing depends on chance."""
    kept = [key for key in DIMENSIONS if key in wishes and key != "conciseness"]
    seen = [key for key in kept if marks(key, wishes[key], brief=True) or key == "order"][:most]
    return {"conciseness": "high", **{key: wishes[key] for key in seen}}


def _lower(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
