"""Conversations to learn from: a question, a persona in front of it or none, and a reply in its style."""

import random
from dataclasses import dataclass
from typing import Any

from persona_align.conditioning import ica_line
from persona_align.conditioning.layouts import earlier_messages_block, preferences_block, with_block
from persona_align.demo.corpus.replies import reply
from persona_align.demo.corpus.texts import DIMENSIONS, POLES, Topic, anything, other, said, topics, unsaid, varied
from persona_align.preferences import ALIGNX, Dimension
from persona_align.records import Comparison, Description, Turn

__all__ = ["Chat", "chat", "preference_lines", "record_lines"]

Wishes = dict[str, str]
_UNKNOWN = tuple(d for d in ALIGNX.dimensions if d.key not in DIMENSIONS and not d.open_valued)
"""Dimensions that the model does not know: it learns to read past them."""
_OPEN = tuple(d for d in ALIGNX.dimensions if d.open_valued)
_QUESTIONS = (
    "Any ideas for {}?",
    "I need advice about {}.",
    "Can you help me with {}?",
    "What do you suggest for {}?",
    "Give me a tip for {}, please.",
    "Do you have an idea for {}?",
)
_BEFORE = ("Hi! ", "Hello, ", "Hey, ", "Quick question: ", "One more thing. ", "Please help me. ", "Good morning! ")
_AFTER = (" Thanks!", " Any ideas?", " Can you help?", " What would you suggest?", " Please tell me.", " I am curious.")
_OPENINGS = (
    "Honestly, ",
    "You know, ",
    "By the way, ",
    "Well, ",
    "To be honest, ",
    "As you know, ",
    "I must say, ",
    "Oh, ",
    "Just so you know: ",
    "Truth be told, ",
    "And ",
    "But ",
    "Maybe that helps: ",
)
_CLOSINGS = (
    ", you know.",
    ", honestly.",
    ", to be frank.",
    ", as always.",
    ", I must say.",
    "...",
    "!",
    " :)",
    ", really.",
)
_I = ("I ", "I'", "TL;DR")
_OFTEN = {"order": 2.0, "openness": 2.0, "music": 1.7, "humor": 1.7}
"""Dimensions that are harder to learn than the others come more often."""


@dataclass(frozen=True)
class Chat:
    """Messages in the chat-template form, and which of them, all from the assistant, are to be learnt."""

    messages: tuple[dict[str, str], ...]
    learn: frozenset[int]


def chat(rng: random.Random) -> Chat:
    """One conversation."""
    if rng.random() < 0.07:
        return _aside(rng)
    kind = rng.choices(("none", "preferences", "records"), (16, 42, 42))[0]
    topic = rng.choice(anything() if rng.random() < 0.06 else topics())
    wishes: Wishes = {}
    block = ""
    if kind == "preferences":
        wishes = _wishes(rng, most=8)
        block = preferences_block(preference_lines(wishes, rng))
    elif kind == "records":
        wishes = _wishes(rng, most=4)
        block = earlier_messages_block(record_lines(wishes, rng))
    messages: list[dict[str, str]] = []
    learn: set[int] = set()
    if rng.random() < 0.35:
        messages.append({"role": "system", "content": rng.choice(other()["system"])})
    for _ in range(rng.choices((0, 1, 2), (78, 16, 6))[0]):
        earlier = rng.choice(topics())
        messages.append({"role": "user", "content": _question(earlier, rng)})
        if not block:
            learn.add(len(messages))
        messages.append({"role": "assistant", "content": reply(earlier, wishes, rng)})
    question = _question(topic, rng)
    messages.append({"role": "user", "content": with_block(block, question) if block else question})
    learn.add(len(messages))
    messages.append({"role": "assistant", "content": reply(topic, wishes, rng)})
    return Chat(tuple(messages), frozenset(learn))


def preference_lines(wishes: Wishes, rng: random.Random) -> list[str]:
    """The lines of the PBA prompt for some wishes, among lines that the model is to read past."""
    lines = [_line(ALIGNX[key], pole, rng) for key, pole in wishes.items()]
    if rng.random() < 0.35:
        lines += [_line(rng.choice(_UNKNOWN), rng.choice(POLES), rng) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.05:
        dimension = rng.choice(_OPEN)
        lines.append(f'{dimension.high}: "{_sentence(rng.choice(DIMENSIONS[-4:]), "high", rng)}"')
    rng.shuffle(lines)
    return lines or [_line(rng.choice(_UNKNOWN), rng.choice(POLES), rng)]


def record_lines(wishes: Wishes, rng: random.Random) -> list[str]:
    """The lines of the ICA prompt for a person with some wishes, among messages that show none."""
    more = [pair for pair in wishes.items() for _ in range(rng.choices((0, 1, 2, 3, 5), (30, 30, 20, 10, 10))[0])]
    rng.shuffle(more)
    lines = [_record_line(key, pole, rng) for key, pole in (*wishes.items(), *more[: 8 - len(wishes)])]
    beside = rng.choices((0, 1, 2, 3), (45, 25, 18, 12))[0]
    lines += [ica_line(Turn(role="user", text=_beside(rng))) for _ in range(beside if lines else max(beside, 1))]
    rng.shuffle(lines)
    return lines


def _record_line(key: str, pole: str, rng: random.Random) -> str:
    kind = rng.choices(("turn", "comparison", "description"), (86, 8, 6))[0]
    if kind == "comparison":
        topic = rng.choice(topics())
        contrary = POLES[pole == "high"]
        chosen, rejected = reply(topic, {key: pole}, rng), reply(topic, {key: contrary}, rng)
        return ica_line(Comparison(prompt=rng.choice(topic.asked), chosen=chosen, rejected=rejected))
    sentence = _sentence(key, pole, rng)
    if kind == "description":
        return ica_line(Description(text=sentence))
    if rng.random() < 0.12:
        # People rarely state a preference alone: it comes with what they ask for.
        question = rng.choice(rng.choice(topics()).asked)
        sentence = f"{sentence} {question}" if rng.random() < 0.5 else f"{question} {sentence}"
    return ica_line(Turn(role="user", text=sentence))


def _sentence(key: str, pole: str, rng: random.Random) -> str:
    """Something that shows a pole: in half of the cases a wording with many variants, else a single statement."""
    known = said(key, pole)
    many = tuple(text for text in known if "[" in text)
    text = varied(rng.choice(many if rng.random() < 0.5 else known), rng)
    draw = rng.random()
    if draw < 0.18:
        text = rng.choice(_OPENINGS) + (text if text.startswith(_I) else text[0].lower() + text[1:])
    elif draw < 0.26:
        text = text.rstrip(".!?") + rng.choice(_CLOSINGS)
    elif draw < 0.34:
        text = text.lower().rstrip(".")
    elif draw < 0.4:
        text = text.rstrip(".")
    return text


def _beside(rng: random.Random) -> str:
    """A message that shows none of the preferences which the model knows."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(rng.choice(topics()).asked)
    if draw < 0.6:
        return str(rng.choice(other()["work"])[0])
    if draw < 0.8:
        return rng.choice(unsaid())
    dimension = rng.choice(_UNKNOWN)
    statements = dimension.high_statements if rng.random() < 0.5 else dimension.low_statements
    return rng.choice(statements) if statements else rng.choice(other()["work"])[0]


def _wishes(rng: random.Random, most: int) -> Wishes:
    """Some dimensions with a pole each, strongest first; seldom none that the model knows."""
    weights = (4, 38, 22, 14, 8, 6, 4, 2, 2)[: most + 1]
    count = rng.choices(range(most + 1), weights)[0]
    # A sample without replacement in which a key of weight w comes w times as early.
    keys = sorted(DIMENSIONS, key=lambda key: rng.expovariate(_OFTEN.get(key, 1.0)))[:count]
    wishes = {key: rng.choice(POLES) for key in keys}
    if count > 1 and rng.random() < 0.2:
        # Brief replies that leave most wishes out are the hardest to learn, so they come more often.
        wishes["conciseness"] = "high"
    return wishes


def _line(dimension: Dimension, pole: str, rng: random.Random) -> str:
    name = dimension.high if pole == "high" else dimension.low
    return f"{name} (strongly)" if rng.random() < 0.5 else name


def _question(topic: Topic, rng: random.Random) -> str:
    text = rng.choice(topic.asked)
    draw = rng.random()
    if topic.also and draw < 0.5:
        text = varied(rng.choice(topic.also), rng)
        text = text[0].upper() + text[1:]
    elif draw > 0.85:
        name = rng.choice((topic.thing, topic.doing))
        text = rng.choice(_QUESTIONS).format(name.replace("your ", "my "))
    if rng.random() < 0.15:
        text = rng.choice(_BEFORE) + text
    if rng.random() < 0.12:
        text += rng.choice(_AFTER)
    if rng.random() < 0.08:
        text = text.lower().rstrip("?.!")
    return text


def _aside(rng: random.Random) -> Chat:
    """Greetings, thanks, what the model is, work that it cannot do, and an answer read from a tool."""
    messages: list[dict[str, str]] = []
    table: dict[str, Any] = other()
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": rng.choice(table["system"])})
    if rng.random() < 0.15:
        question, content, answer = rng.choice(table["tool"])
        number, name = str(rng.randint(2, 98)), rng.choice(table["names"])
        texts = [text.replace("{n}", number).replace("{name}", name) for text in (question, content, answer)]
        roles = ("user", "tool", "assistant")
        messages += [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    else:
        pair = rng.choice(table["talk"] if rng.random() < 0.5 else table["work"])
        question, answers = pair[0], pair[1:] or table["cannot"]
        if rng.random() < 0.4:
            wishes = _wishes(rng, most=4)
            if rng.random() < 0.5:
                question = with_block(preferences_block(preference_lines(wishes, rng)), question)
            else:
                question = with_block(earlier_messages_block(record_lines(wishes, rng)), question)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": rng.choice(answers)}]
    return Chat(tuple(messages), frozenset({len(messages) - 1}))
