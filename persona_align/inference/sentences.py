"""Messages as people write them, with what each says of its author: what the reader of dimensions learns from."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

__all__ = ["Message", "messages"]

PARTS = ("manner", "needs", "interests", "plain")
_OTHERS = re.compile(
    r"\b(?:my|our)\s+(?:\w+\s+)?(?:brother|sister|mum|mom|mother|dad|father|wife|husband|girlfriend|boyfriend|partner|"
    r"son|daughter|friend|flatmate|roommate|boss|manager|neighbou?r|colleague|uncle|aunt|cousin|teacher|gran\w*|nan|"
    r"nephew|niece|landlord|kids?|parents)|\b(?:he|she|they|his|her|their)\b",
    re.IGNORECASE,
)
_ME = re.compile(r"\b(?:I|I'm|I've|I'd|me)\b")


class Message(NamedTuple):
    """One message.

    Args:
        text: The words.
        says: The dimensions that it speaks of, each with 1 for the high pole or -1; of whom, says `subject`.
        subject: "self", "other" (of a person who is not the author) or "nothing".
        unsure: Dimensions of which it may speak or not, so that nothing is learned of them; None for all.
        source: What it was made from; messages of one source belong together.
    """

    text: str
    says: Mapping[str, int]
    subject: str
    unsure: tuple[str, ...] | None
    source: str


def messages() -> Iterator[Message]:
    """The shipped messages.

    Example:
        >>> next(messages()).says
        {'neuroticism': 1}
    """
    for part in PARTS:
        for key, sides in _read(part).items():
            for side, pole in (("high", 1), ("low", -1)):
                for line in sides[side]:
                    text, _, tags = line.partition(" | ")
                    yield Message(text, {key: pole, **_tagged(tags.split())}, "self", (), text)
            for text in sides["about"]:
                third = bool(_OTHERS.search(text)) and not _ME.search(text)
                # Of whom it is told, it may well be true.
                yield Message(text, {}, "other" if third else "nothing", (key,) if third else (), text)
    told = _read("nothing")
    for text in told["nothing"]:
        yield Message(text, {}, "nothing", (), text)
    for text in told["others"]:
        yield Message(text, {}, "other", None, text)
    for each in told["mixed"]:
        yield Message(each["text"], _tagged(each["says"]), "self", (), each["text"])


def _tagged(tags: list[str]) -> dict[str, int]:
    return {tag[:-1]: 1 if tag[-1] == "+" else -1 for tag in tags}


def _read(name: str) -> dict[str, Any]:
    path = files("persona_align.inference").joinpath(f"data/sentences/{name}.toml")
    parts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return parts
