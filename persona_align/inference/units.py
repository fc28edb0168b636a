"""The author's own claims in a text: sentences without what is quoted, pasted or code, elliptic answers joined."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from persona_align.inference.lexicon import is_english

__all__ = ["Unit", "claims_of", "own_units"]


class Unit(NamedTuple):
    """One claim.

    Args:
        text: The words.
        sentences: The positions of its sentences in the encoding.
    """

    text: str
    sentences: tuple[int, ...]


MAX_WORDS = 60
"""A sentence of more words is a run-on or a dump and is not read as a claim."""

_QUOTES = (
    re.compile(r"```.*?(?:```|\Z)", re.DOTALL),
    re.compile(r"`[^`\n]+`"),
    re.compile(r"(?m)^[ \t]*>.*$"),
    re.compile(r'"""(?:.*?)(?:"""|\Z)', re.DOTALL),
    re.compile(r"<(\w+)[^>]*>.*?</\1>", re.DOTALL),
    re.compile(r"\[(document|file|article|context|quote|email)\b[^\]]*\].*?(?:\[/\1\]|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?m)^(?:[ \t]{4,}|\t).*$"),
    re.compile(r"-{3,}\s*(?:begin|original|forwarded)\b.*?(?:-{3,}\s*end\b[^\n]*|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?m)^(?:from|to|subject|sent|date|cc):.*$", re.IGNORECASE),
    re.compile(r"[\"“«][^\"“”«»]{2,}[\"”»]", re.DOTALL),
    re.compile(r"(?<![\w'])[‘'](?=\w)[^'‘’\n]{12,}?[.!?,]?[’'](?!\w)"),
    re.compile(r"\{[^{}]*:[^{}]*\}", re.DOTALL),
)
_PASTED = re.compile(
    r"\b(?:translate|summari[sz]e|proofread|rewrite|rephrase|paraphrase|edit|correct|fix|improve|shorten|review|"
    r"analy[sz]e|classify|"
    r"check|continue|here(?:'s| is| are)|this is|following|below|text|article|document|email|letter|essay|story|"
    r"bio|biography|"
    r"message|review|transcript|poem|paragraph|prompt|passage|excerpt|abstract|log|lyrics|post|"
    r"profile)\b[^\n.!?]{0,80}:",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"^\s*(?:def \w+\(|class \w+[(:]|import \w+$|from \w\S* import|return\b.*[(=]|SELECT\b.*\bFROM\b|#include|"
    r"(?:const|let|var) \w+ ?=|(?:if|for|while) ?\()|[;{}]\s*$|\)\s*:\s*$|=>|::|==|&&"
)
_DIVIDER = re.compile(r"(?m)^\s*(?:-{3,}|={3,}|\*{3,}|_{3,})\s*$")
_WORD = re.compile(r"\w+(?:'\w+)?")
_SHORT_ANSWER = re.compile(
    r"^\W*(?:no|nope|nah|not|never|yes|yeah|yep|absolutely|definitely|certainly|sure|always|hardly|rarely|as if|"
    r"heck|hell|"
    r"love|hate|i (?:do|don't|am|am not|can't|wish|guess so|doubt it)|i'm not|you bet|of course|guilty|so)\b",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"^(?:but|and)\s+(?=(?:hate|love|like|dislike|enjoy|prefer|adore|loathe|detest|can'?t)\b)", re.IGNORECASE
)
"""The second half of "I love hiking but hate camping" has the first half's subject."""
_ELLIPSIS = re.compile(
    r"^\W*(?:(?:but|and|well|personally|me)\W+)*(?:i (?:do|don't|am|am not|can't|can|never did|didn't)|i'm not|"
    r"not me)\W*$",
    re.IGNORECASE,
)


def own_units(text: str, sentences: Sequence[str]) -> list[Unit]:
    """The claims that are the author's own words, in English.

    Args:
        text: The whole text.
        sentences: The sentences that an encoding read of it, in order.

    Example:
        >>> text = 'Translate this: "I love parties." I like it short.'
        >>> [unit.text for unit in own_units(text, ['Translate this: "I love parties."', "I like it short."])]
        ['I like it short.']
    """
    return [unit for unit in claims_of(text, sentences) if is_english(unit.text)]


def claims_of(text: str, sentences: Sequence[str]) -> list[Unit]:
    """The claims that are the author's own words, in any language."""
    hidden = _hidden(text)
    units: list[Unit] = []
    position = 0
    for number, sentence in enumerate(sentences):
        start = text.find(sentence, position)
        start = position if start < 0 else start
        end = position = start + len(sentence)
        covered = sum(max(0, min(b, end) - max(a, start)) for a, b in hidden)
        if covered > 0.3 * len(sentence) or not sentence.strip() or _CODE.search(sentence):
            continue
        sentence = _BARE.sub("I ", sentence)
        words = _WORD.findall(sentence)
        if units and len(words) <= 6 and units[-1].sentences[-1] == number - 1 and _belongs(units[-1].text, sentence):
            units[-1] = Unit(f"{units[-1].text} {sentence}", (*units[-1].sentences, number))
        elif 1 < len(words) <= MAX_WORDS:
            units.append(Unit(sentence, (number,)))
    return units


def _belongs(before: str, sentence: str) -> bool:
    if before.rstrip().endswith("?"):
        return bool(_SHORT_ANSWER.search(sentence))
    return bool(_ELLIPSIS.search(sentence)) and len(before.split()) > 2


def _hidden(text: str) -> list[tuple[int, int]]:
    """The stretches that are not the author's own words."""
    spans = [match.span() for pattern in _QUOTES for match in pattern.finditer(text)]
    for match in _PASTED.finditer(text):
        rest = text[match.end() :]
        # What follows on the same line is short and may be the author's own; a block behind a line break is pasted.
        if "\n" in rest[:3] or len(rest) > 200 or re.match(r"\s*\S.{20,}", rest):
            divider = _DIVIDER.search(rest)
            blank = None if divider else re.search(r"\n\s*\n(?=[^\n]{0,300}\Z)", rest)
            stop = divider.start() if divider else blank.start() if blank else len(rest)
            spans.append((match.end(), match.end() + stop))
    return _merged(spans)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
