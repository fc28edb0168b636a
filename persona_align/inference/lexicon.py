"""What can be read off the words of a sentence: negation, hedges, intensity, who is spoken of, which language."""

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from persona_align.inference.words import counted

__all__ = ["FEATURES", "features", "is_english", "spoken_of"]

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})

_PATTERNS = {
    "not": r"\b(?:not|no|never|n[o']t|none|nothing|nobody|neither|nor|without)\b|n't\b|\b(?:dont|cant|wont|isnt|"
    r"im not)\b",
    "seldom": r"\b(?:seldom|rarely|hardly|barely|scarcely|few|little|least|far from|anything but|stop|stopped|"
    r"quit|avoid|"
    r"refuse|fail|lack|unable|instead of|rather than)\b",
    "against": r"\b(?:hates?|dislikes?|loathes?|despises?|can'?t stand|can'?t bear|cannot stand|detests?|bored?|"
    r"bores|boring|"
    r"annoy\w*|awful|terrible|tedious|dull|dreads?|sick of|tired of|off-putting|puts? me off|waste of|"
    r"irritat\w+|pointless|"
    r"leaves? me cold|couldn'?t care less|not a fan|not for me|not my thing|no interest)\b",
    "toward": r"\b(?:loves?|likes?|enjoy\w*|adores?|prefers?|fond|fan of|keen|passion\w*|into|favou?rite|"
    r"happ\w+|can'?t wait|"
    r"fascinat\w+|delight\w*|crave|obsess\w*|appreciate)\b",
    "hedge": r"\b(?:maybe|perhaps|kind of|sort of|a bit|a little|somewhat|sometimes|occasionally|i guess|"
    r"i suppose|i think|"
    r"probably|more or less|not exactly|not really|wouldn'?t say|so-so|now and then|fairly|mildly|slightly|"
    r"in a way|tend to)\b",
    "strong": r"\b(?:very|really|so|extremely|absolutely|totally|completely|always|never|every|all|most|deeply|utterly|"
    r"definitely|hugely|incredibly|whatsoever|at all|nothing beats|above all)\b|!",
    "first": r"\b(?:i|i'm|im|i'd|i've|i'll|me|my|mine|myself)\b",
    "first_opens": r"^\W*(?:(?:well|honestly|frankly|actually|but|and|so|oh|ok|okay|to be honest|these days|"
    r"nowadays|personally|"
    r"at heart|deep down),?\s+)*i(?:'m|'d|'ve|'ll|m)?\b",
    "other_opens": r"^\W*(?:(?:my|our|his|her|their|the|this|that|these|those|some|most|many)\s+(?!\w+\s+(?:i\b|i'))|"
    r"(?:he|she|they|people|everyone|everybody|someone|somebody|you|who)\b)",
    "kin": r"\b(?:brother|sister|mum|mom|mother|dad|father|wife|husband|girlfriend|boyfriend|partner|son|"
    r"daughter|friend|"
    r"flatmate|roommate|boss|manager|neighbou?r|colleague|uncle|aunt|cousin|teacher|user|customer|client|author|"
    r"character|"
    r"grandma|grandpa|grandmother|grandfather|kid|kids|parents|people|everyone|everybody|others)\b",
    "third": r"\b(?:he|she|they|him|her|his|hers|them|their|he's|she's|they're)\b",
    "says": r"\b(?:says?|said|thinks?|claims?|according|reports?|tells?|told|wrote|writes|argues?|article|"
    r"survey|review)\b",
    "unlike_me": r"\b(?:i don'?t|i do not|not me|unlike me|i'm not|i am not|i can'?t|i do|i am|but me|"
    r"i'm the opposite|unlike "
    r"(?:my|him|her|them))\W*$|\bunlike (?:my|him|her|them|everyone)\b",
    "contrast": r",|\b(?:but|whereas|while|though|although)\b|;",
    "question": r"\?\W*$|^\W*(?:what|who|where|when|why|how|which|is|are|do|does|did|can|could|would|will|"
    r"should|has|have)\b",
    "asks": r"^\W*(?:please\s+)?(?:write|give|make|explain|summari[sz]e|translate|list|find|create|compare|"
    r"suggest|help|tell|"
    r"show|fix|draft|describe|generate|convert|calculate|solve|proofread|rewrite|edit|check|add|recommend|plan|"
    r"design)\b",
    "to_you": r"\b(?:you|your|please|reply|replies|answers?|response|responses|explanations?|explain)\b",
    "used_to": r"\b(?:used to|anymore|any more|no longer|not any longer|these days|nowadays|from now on|"
    r"i've become|lately|"
    r"changed my mind|stopped|as of today|by now|since then)\b",
    "if": r"\b(?:if|unless|suppose|imagine|pretend|would)\b",
    "past": r"\b(?:was|were|had|did|went|used to|yesterday|last (?:week|year|night|month))\b",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}

FEATURES = (*_PATTERNS, "odd_negation", "length")
"""The names of the features, in order."""

_COMMON = counted("english")
_FOREIGN = counted("foreign")
"""What is common in other languages that are written with these letters, and no English word."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def features(sentence: str) -> NDArray[np.float32]:
    """The features of one sentence, each in [0, 1] or nearly so.

    Returns:
        Shape [len(FEATURES)].

    Example:
        >>> dict(zip(FEATURES, features("I can't stand crowds."), strict=True))["against"]
        np.float32(0.5)
    """
    text = sentence.translate(_APOSTROPHES)
    counts = [len(pattern.findall(text)) for pattern in _COMPILED.values()]
    found = dict(zip(_COMPILED, counts, strict=True))
    turns = found["not"] + found["seldom"] + found["against"]
    values = [min(count, 2) / 2 for count in counts]
    return np.array([*values, float(turns % 2), min(len(text.split()), 40) / 40], dtype=np.float32)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return _COMPILED[name]


def spoken_of(sentence: str) -> tuple[bool, bool]:
    """Whether a sentence speaks of its author, and whether it speaks of somebody else in the third person.

    Example:
        >>> spoken_of("My brother loves horror films, I don't.")
        (True, True)
    """
    text = sentence.translate(_APOSTROPHES)
    return bool(_pattern("first").search(text)), bool(_pattern("kin").search(text) or _pattern("third").search(text))


def is_english(text: str) -> bool:
    """Whether a text can be read: the head knows English only and abstains on everything else.

    Example:
        >>> is_english("I like short answers."), is_english("Ich mag kurze Antworten."), is_english("🙂")
        (True, False, False)
    """
    words = [word.lower() for word in _WORD.findall(text.translate(_APOSTROPHES))]
    if not words:
        return False
    letters = [character for word in words for character in word]
    if sum(character.isascii() for character in letters) < 0.9 * len(letters):
        return False
    known = sum(word in _COMMON for word in words)
    foreign = sum(word in _FOREIGN for word in words)
    return known > 2 * foreign and known >= max(1, round(0.2 * len(words)))
