"""The sentences that the evidence head learns from: our anchor statements and frames, put together by grammar."""

import random
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from persona_align.inference.grammar import negated, reported
from persona_align.inference.requests import request_statements, requests
from persona_align.preferences import PreferenceSpace

__all__ = ["Example", "corpus", "trait_statements"]


class Example(NamedTuple):
    """One sentence and what it says.

    Args:
        text: The sentence.
        dimension: The dimension that it is about; "" for none.
        pole: 1 or -1, or 0 where the sentence says nothing.
        subject: "self", "other" (a person who is not the author) or "nothing".
        anchor: Whether it may define the pole, and not only be read against it.
        source: The statement that it was made from, if any.
    """

    text: str
    dimension: str
    pole: int
    subject: str
    anchor: bool = False
    source: str = ""


_LIKE = (
    "I love {x}.",
    "I like {x}.",
    "I really enjoy {x}.",
    "I'm a big fan of {x}.",
    "I adore {x}.",
    "I'm into {x}.",
    "{X} makes me happy.",
    "I can't get enough of {x}.",
    "I quite like {x}.",
    "{X}? Yes please.",
    "I've always been fond of {x}.",
    "I could talk about {x} all day.",
    "I wouldn't want to miss {x}.",
    "Nothing beats {x}.",
    "I never get tired of {x}.",
    "I don't know what I'd do without {x}.",
    "Give me more of {x}.",
    "Of all things, {x} is what I like most.",
    "I can't say no to {x}.",
    "I prefer {x} to almost anything.",
    "My favourite? {X}, obviously.",
    "I used to hate {x}, but by now I like it.",
    "{O} hates {x}, but I love it.",
    "Unlike {o}, I enjoy {x}.",
    "{O} doesn't care for {x}. I do.",
    "I don't dislike {x} at all, on the contrary.",
    "I think {x} is great.",
    "I'm always up for {x}.",
    "there's nothing like {x} imo",
    "I keep coming back to {x}.",
    "{X} is my thing.",
    "I'd choose {x} any time.",
    "I have a soft spot for {x}.",
    "I couldn't live without {x}.",
    "It's not that I don't like {x}, quite the contrary.",
    "I can't do without {x}.",
    "There isn't a day when I don't think of {x}.",
    "I'm not against {x}, actually I like it a lot.",
    "I'd be lost without {x}.",
    "Who doesn't love {x}?",
    "I'd never say no to {x}.",
    "I can't say I don't like {x}.",
    "I wouldn't say I dislike {x}.",
    "You won't hear me complain about {x}.",
    "I can't imagine life without {x}.",
    "I'd be lying if I said I didn't like {x}.",
    "You'd be wrong to think I don't care for {x}.",
    "I don't mind {x} one bit.",
    "I never turn down {x}.",
    "You won't catch me avoiding {x}.",
)
_DISLIKE = (
    "I hate {x}.",
    "I don't like {x}.",
    "I can't stand {x}.",
    "I'm not a fan of {x}.",
    "{X} is not for me.",
    "I dislike {x}.",
    "I avoid {x}.",
    "{X} bores me.",
    "{X} gets on my nerves.",
    "I never enjoyed {x}.",
    "I've no interest in {x}.",
    "I wouldn't say I enjoy {x}.",
    "I'm not exactly crazy about {x}.",
    "I could do without {x}.",
    "{X}? No thanks.",
    "I'm sick of {x}.",
    "I don't see the appeal of {x}.",
    "I'd rather not have anything to do with {x}.",
    "I never got into {x}.",
    "{X} isn't really my thing.",
    "I can't warm to {x}.",
    "ugh, {x}, not for me",
    "I used to love {x}, but not any more.",
    "{O} loves {x}, I don't.",
    "Unlike {o}, I can't bear {x}.",
    "{O} is crazy about {x}. I'm not.",
    "I don't care for {x}.",
    "I stay away from {x}.",
    "Nothing puts me off like {x}.",
    "I think {x} is overrated.",
    "I hardly ever enjoy {x}.",
    "I fail to see what people like about {x}.",
    "{X} leaves me cold.",
    "I'd go a long way to avoid {x}.",
    "I really couldn't care less about {x}.",
    "{X} does nothing for me.",
    "It's not that I dislike everything, but {x} I do.",
    "I wouldn't miss {x} if it vanished.",
    "Keep {x} away from me.",
    "{X}, none of that appeals to me.",
    "I'm fed up with {x}.",
    "I'd say no to {x} every time.",
    "I can't say I like {x}.",
    "I can easily imagine life without {x}.",
    "I'd be lying if I said I liked {x}.",
    "You'd be wrong to think I care for {x}.",
    "I do mind {x}.",
    "I turn down {x} whenever I can.",
    "You won't catch me enjoying {x}.",
)
_OTHERS_LIKE = (
    "{O} loves {x}.",
    "{O} can't get enough of {x}.",
    "{O} is into {x}.",
    "{O} told me how much they enjoy {x}.",
)
_OTHERS_DISLIKE = ("{O} hates {x}.", "{O} can't stand {x}.", "{O} doesn't like {x}.", "{O} says that {x} is boring.")
_IS = (
    "I'm {a}.",
    "I'm quite {a}.",
    "I've always been {a}.",
    "People say I'm {a}.",
    "I'm rather {a}, I suppose.",
    "I'm so {a}.",
    "I am {a} by nature.",
    "Everyone who knows me knows that I'm {a}.",
    "I tend to be {a}.",
    "I'm a lot more {a} than most.",
    "I'd call myself {a}.",
    "I can't help being {a}.",
    "{O} isn't {a}, but I am.",
    "I've become {a} lately.",
    "deep down i'm {a}",
    "I'm never anything but {a}.",
    "I wouldn't say I'm not {a}.",
    "You can't say I'm not {a}.",
    "It would be wrong to say I'm not {a}.",
    "Nobody could claim I'm not {a}.",
    "My friends would call me {a}.",
    "I wouldn't deny that I'm {a}.",
    "You'd be wrong to think I'm not {a}.",
    "Anyone will tell you I'm {a}.",
)
_IS_NOT = (
    "I'm not {a}.",
    "I'm not exactly {a}.",
    "I wouldn't say I'm {a}.",
    "I'm anything but {a}.",
    "I'm hardly {a}.",
    "Nobody would call me {a}.",
    "I've never been {a}.",
    "I don't think I'm {a}.",
    "I'm far from {a}.",
    "I'm not {a} at all.",
    "{O} is {a}, I'm not.",
    "I used to be {a}, but those days are over.",
    "I wish I were {a}.",
    "i'm not really {a} tbh",
    "I'm the opposite of {a}.",
    "You can't say I'm {a}.",
    "No one has ever called me {a}.",
    "Nobody who knows me would say I'm {a}.",
    "I wouldn't call myself {a}.",
    "My friends wouldn't describe me as {a}.",
    "It would be wrong to call me {a}.",
    "You'd be wrong to think I'm {a}.",
    "No one would accuse me of being {a}.",
)
_OTHERS_ARE = ("{O} is {a}.", "{O} has always been {a}.", "{O} is so {a}.")
_OTHERS_ARE_NOT = ("{O} isn't {a}.", "{O} has never been {a}.", "{O} is anything but {a}.")
_DO = (
    "I {v}.",
    "I usually {v}.",
    "I always {v}.",
    "I tend to {v}.",
    "I {v} more than most people.",
    "It's like me to {v}.",
    "I'd say I {v}.",
    "I'm someone who tends to {v}.",
    "I often {v}.",
    "My friends know that I {v}.",
    "I can't help it, I {v}.",
    "I do {v}, yes.",
    "Mostly I {v}.",
    "I {v} whenever I can.",
    "I'm known to {v}.",
    "these days i {v}",
    "I can't not {v}.",
    "There's no way I wouldn't {v}.",
    "There isn't a day when I don't {v}.",
    "It's not that I don't {v}, quite the contrary.",
    "I never fail to {v}.",
    "I'd never not {v}.",
    "I wouldn't say I don't {v}.",
    "You can't say I don't {v}.",
    "It's not as if I don't {v}.",
    "You'd be wrong to think I don't {v}.",
    "Nobody could say that I don't {v}.",
    "I won't deny that I {v}.",
)
_DO_NOT = (
    "I don't {v}.",
    "I never {v}.",
    "I rarely {v}.",
    "I hardly ever {v}.",
    "I wouldn't say I {v}.",
    "It's not like me to {v}.",
    "I'm not one to {v}.",
    "I don't usually {v}.",
    "I'd never {v}.",
    "I don't really {v}.",
    "I seldom {v}.",
    "Nobody could say that I {v}.",
    "I no longer {v}.",
    "It would be wrong to say that I {v}.",
    "I don't {v} at all.",
    "You can't say I {v}.",
    "It's not as if I {v}.",
    "You'd be wrong to think I {v}.",
    "No one would ever say that I {v}.",
)
_CLAIMS = (
    "To be honest, {s}",
    "Just so you know, {s}",
    "You should know that {s}",
    "A friend pointed out that {s}",
    "Well, {s}",
)
_DOUBLE = (
    "It's not true that {s}",
    "I wouldn't say that {s}",
    "It's not as if {s}",
    "There's no way that {s}",
    "Nobody could say that {s}",
)
"""Around a denied statement: what it denied is true."""
_DENIALS = (
    "I wouldn't say that {s}",
    "It's not true that {s}",
    "I don't think that {s}",
    "Nobody could say that {s}",
    "It's not as if {s}",
    "It used to be that {s}",
    "It would be a lie to say that {s}",
)


def corpus(space: PreferenceSpace, *, seed: int = 0, per_pole: int = 12) -> list[Example]:
    """The examples for a space, the same for the same seed.

    Args:
        space: Its statements are learned from, and say which dimensions there are.
        seed: Of the frames that are drawn.
        per_pole: How many framed sentences are drawn for each pole of each object, trait and habit.
    """
    parts = tomllib.loads(_read("corpus.toml"))
    rng = random.Random(seed)
    examples = [
        *_anchors(space, parts, rng),
        *_framed(parts, rng, per_pole),
        *_styles(parts),
        *_nothing(space, parts, rng),
    ]
    examples += _traits(parts, rng)
    examples += _objects(parts, rng)
    examples += _requests(space, rng)
    return list(dict.fromkeys(examples))


@cache
def trait_statements() -> dict[tuple[str, int], tuple[str, ...]]:
    """Further statements of the five broad traits, by key and side (0 high, 1 low)."""
    return {
        (key, side): tuple(
            [f"I'm {value}." for value in words[f"{name}_adjectives"]] + [f"I {value}." for value in words[name]]
        )
        for key, words in tomllib.loads(_read("traits.toml")).items()
        for side, name in enumerate(("high", "low"))
    }


def _fill(frame: str, other: str, **parts: str) -> str:
    """A frame with its holes filled; {X} and {O} begin a sentence with a capital."""
    parts |= {key.upper(): value[:1].upper() + value[1:] for key, value in parts.items()}
    return frame.format(o=other, O=other[:1].upper() + other[1:], **parts)


def _anchors(space: PreferenceSpace, parts: dict[str, Any], rng: random.Random) -> Iterator[Example]:
    for dimension in space:
        for pole, statements in ((1, dimension.high_statements), (-1, dimension.low_statements)):
            for text in statements:
                yield Example(text, dimension.key, pole, "self", anchor=True, source=text)
                yield Example(text.rstrip(".!").lower().replace("i'", "I'"), dimension.key, pole, "self", source=text)
                for denial in negated(text):
                    yield Example(denial, dimension.key, -pole, "self", source=text)
                    if "n't " in denial or " not " in denial:
                        doubly = rng.choice(_DOUBLE).format(s=denial)
                        yield Example(doubly, dimension.key, pole, "self", source=text)
                if re.match(r"(?:I|My|People|Nobody|Small|Being)\b", text):
                    clause = text if re.match(r"I\b", text) else text[:1].lower() + text[1:]
                    yield Example(rng.choice(_CLAIMS).format(s=clause), dimension.key, pole, "self", source=text)
                    for frame in rng.sample(_DENIALS, 2):
                        yield Example(frame.format(s=clause), dimension.key, -pole, "self", source=text)
                    for other in rng.sample(parts["others"], 2):
                        told = reported(text, other)
                        if told:
                            yield Example(told, dimension.key, pole, "other", source=text)


def _framed(parts: dict[str, Any], rng: random.Random, per_pole: int) -> Iterator[Example]:
    def draw(
        key: str, name: str, value: str, pole: int, frames: tuple[str, ...], subject: str, count: int
    ) -> Iterator[Example]:
        for number, frame in enumerate(rng.sample(frames, min(count, len(frames)))):
            text = _fill(frame, rng.choice(parts["others"]), **{name: value})
            yield Example(text, key, pole, subject, anchor=subject == "self" and number < per_pole // 2)

    for thing in parts["things"]:
        key = f"thing/{thing}"
        yield from draw(key, "x", thing, 1, _LIKE, "self", per_pole)
        yield from draw(key, "x", thing, -1, _DISLIKE, "self", per_pole)
        yield from draw(key, "x", thing, 1, _OTHERS_LIKE, "other", 2)
        yield from draw(key, "x", thing, -1, _OTHERS_DISLIKE, "other", 2)
    for name, yes, no, group in (("a", _IS, _IS_NOT, "traits"), ("v", _DO, _DO_NOT, "habits")):
        for poles in parts[group]:
            key = f"{group}/{poles[0]}"
            for pole, value in zip((1, -1), poles, strict=True):
                yield from draw(key, name, value, pole, yes, "self", per_pole)
                yield from draw(key, name, value, -pole, no, "self", per_pole // 2)
                if group == "traits":
                    yield from draw(key, name, value, pole, _OTHERS_ARE, "other", 1)
                    yield from draw(key, name, value, -pole, _OTHERS_ARE_NOT, "other", 1)
                else:
                    for other in rng.sample(parts["others"], 2):
                        yield Example(reported(f"I {value}.", other) or "", key, pole, "other")


def _traits(parts: dict[str, Any], rng: random.Random) -> Iterator[Example]:
    for key, words in tomllib.loads(_read("traits.toml")).items():
        for pole, side in ((1, "high"), (-1, "low")):
            for values, name, yes, no, per in (
                (words[f"{side}_adjectives"], "a", _IS, _IS_NOT, 3),
                (words[side], "v", _DO, _DO_NOT, 3),
            ):
                for value in values:
                    plain = f"I {value}." if name == "v" else f"I'm {value}."
                    yield Example(plain, key, pole, "self", anchor=True, source=plain)
                    for frames, sign in ((yes, pole), (no, -pole)):
                        for frame in rng.sample(frames, per):
                            text = _fill(frame, rng.choice(parts["others"]), **{name: value})
                            yield Example(text, key, sign, "self", source=plain)
                    told = reported(plain, rng.choice(parts["others"]))
                    if told:
                        yield Example(told, key, pole, "other", source=plain)


def _objects(parts: dict[str, Any], rng: random.Random) -> Iterator[Example]:
    for key, things in tomllib.loads(_read("objects.toml")).items():
        for thing in things:
            for pole, frames in ((1, _LIKE), (-1, _DISLIKE)):
                for frame in rng.sample(frames, 4):
                    text = _fill(frame, rng.choice(parts["others"]), x=thing)
                    yield Example(text, key, pole, "self", source=thing)
            told = _fill(rng.choice(_OTHERS_DISLIKE), rng.choice(parts["others"]), x=thing)
            yield Example(told, key, -1, "other", source=thing)
    for key, poles in tomllib.loads(_read("natures.toml")).items():
        for pole, nature in ((pole, each) for pole, natures in zip((1, -1), poles, strict=True) for each in natures):
            for ways, sign in ((_IS, pole), (_IS_NOT, -pole)):
                for frame in rng.sample(ways, 5):
                    yield Example(_fill(frame, rng.choice(parts["others"]), a=nature), key, sign, "self", source=nature)
            told = _fill(rng.choice(_OTHERS_ARE), rng.choice(parts["others"]), a=nature)
            yield Example(told, key, pole, "other", source=nature)


def _read(name: str) -> str:
    return files("persona_align.inference").joinpath(f"data/{name}").read_text(encoding="utf-8")


def _styles(parts: dict[str, Any]) -> Iterator[Example]:
    for number, poles in enumerate(parts["styles"]):
        for pole, texts in zip((1, -1), poles, strict=True):
            for text in texts:
                yield Example(text, f"style/{number}", pole, "self", anchor=True)
                yield Example(f"From now on: {text[:1].lower()}{text[1:]}", f"style/{number}", pole, "self")


def _requests(space: PreferenceSpace, rng: random.Random) -> Iterator[Example]:
    for (key, side), texts in request_statements().items():
        for text in texts if key in space else ():
            yield Example(text, key, -1 if side else 1, "self", anchor=True, source=text)
            yield Example(text.lower().rstrip("."), key, -1 if side else 1, "self", source=text)
    for made in requests(rng):
        if made.dimension in space:
            yield Example(made.text, made.dimension, made.pole, "self", source=made.source)


def _nothing(space: PreferenceSpace, parts: dict[str, Any], rng: random.Random) -> Iterator[Example]:
    for text in parts["nothing"]:
        yield Example(text, "", 0, "nothing")
        yield Example(text.lower().rstrip("."), "", 0, "nothing")
    topics = [*parts["things"], *(d.key.replace("_", " ") for d in space if d.family == "interests")]
    for topic in topics:
        for frame in rng.sample(parts["tasks"], 6):
            yield Example(_fill(frame, "", x=topic), "", 0, "nothing")
