"""What the grammar of a sentence does to its claim: denies it, leaves it open, weakens or strengthens it."""

import re
from typing import NamedTuple

__all__ = ["Stance", "stance"]


class Stance(NamedTuple):
    """How a claim is made.

    Args:
        flip: Whether the claim that the words name is denied from outside ("I wouldn't say I'm tidy").
        open: Whether it is left open ("I couldn't tell you whether I'm tidy").
        strength: How strongly it is made, in (0, 1]; 0.75 is a plain statement.
        shift: Whether it says that something has changed ("not any more", "from now on").
    """

    flip: bool
    open: bool
    strength: float
    shift: bool


_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})
_ME = r"(?:i|i'm|i'd|i've|i'll|im|my)\b"
_DENIES = re.compile(
    r"n't\b|\b(?:not|never|no|nobody|none|nothing|cannot|hardly|scarcely|barely|rarely|seldom|doubt\w*|deny|"
    r"denied|wrong|false|untrue|"
    r"incorrect|lie|lying|myth|nonsense|rubbish|ridiculous|absurd|laughable|stretch|exaggerat\w+|far from|"
    r"opposite|impossible|unlikely|"
    r"mistaken|refuse|used to be|anything but|few|little|dont|cant|wont|isnt|wouldnt|doesnt)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    rf"\b(?:that|say|says|saying|said|claim|claiming|think|thinks|believe|suppose|call|feel|as if|as though|"
    rf"case|true|argue|pretend|"
    rf"swear|insist|suggest|admit|often)\s+(?:that\s+)?(?={_ME})|\bcall(?:ed|ing)?\s+(?=me\b|myself\b)|"
    rf"\bsee myself as\b|"
    rf"\b(?:idea|notion|thought|rumou?r)\s+(?:that\s+)?(?={_ME})",
    re.IGNORECASE,
)
_FACTIVE = re.compile(
    r"\b(?:happy|sad|sorry|proud|ashamed|glad|hate|love|like|know|knows|knew|forget|realis\w+|realiz\w+|care|"
    r"mind|matter|bother\w*|"
    r"surpris\w+|notice|annoy\w*|help it|secret|so \w+|such)\b[^,]*$",
    re.IGNORECASE,
)
_OPEN = re.compile(
    rf"\b(?:whether|if)\s+{_ME}[^?]*\b(?:or not|either way|no idea|who knows)\b|\b(?:can't|couldn't|could not|"
    rf"cannot|hard to|difficult to|not "
    rf"sure|don't know|no idea|unsure|who knows|wonder\w*)\b[^,]*\b(?:if|whether)\s+{_ME}|\b(?:either way|"
    rf"half the time|some days|fifty-fifty|"
    rf"depends on my mood|neither here nor there|in two minds|undecided|no strong feelings)\b",
    re.IGNORECASE,
)
_TAIL_NO = re.compile(
    r"^the (?:idea|notion|claim|suggestion|thought|rumou?r) that .* (?:is|was|seems|sounds) (?:\w+ )?(?:wrong|"
    r"false|untrue|absurd|silly|"
    r"ridiculous|laughable|nonsense|rubbish|a myth|a lie)\W*$|"
    r"\?\W*(?:no\b|nope|nah|not\b|never|hardly|absolutely not|certainly not|definitely not|as if|no way|hell no|"
    r"heck no|far from|"
    r"wrong|i wish\b|i don't|i'm not|i can't)[^?]*$|[-–—,]\s*(?:not!|said (?:no one|nobody) ever|yeah right|as if)\W*$",
    re.IGNORECASE,
)
_ELLIPSIS = re.compile(
    r"(?:[,;.!\-–—]|\bbut|\band|\bwhereas|\bwhile)\s*(?:but |and |well,? |whereas |while )*"
    r"(?:i (?:really |certainly |definitely |do |myself )?(?:don't|do not|am not|can't|never did|never do|"
    r"didn't|haven't|won't|wouldn't|do|am|can)|"
    r"i'm not|i'm the opposite|i am the opposite|not me|me neither|not for me)\W*$",
    re.IGNORECASE,
)
_BEGINS_WITH_I = re.compile(r"^\W*(?:\w+,\s+)?(?:unlike|i|i'm|i'd|i've|i'll)\b", re.IGNORECASE)
_GONE = re.compile(
    r"\bused to\b.*(?:\bbut\b|,|\.).*\b(?:not any ?more|no more|no longer|those days|that's over|don't|stopped|"
    r"not now|changed|gone)\b[^,]*$",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:maybe|perhaps|kind of|sort of|kinda|sorta|a bit|a little|somewhat|sometimes|occasionally|i guess|"
    r"i suppose|probably|more or "
    r"less|not exactly|not really|wouldn't say|so-so|now and then|fairly|mildly|slightly|in a way|by and large|"
    r"on the whole|for the most "
    r"part|mostly|partly|more often than not|generally|not so much|rather|quite|tend to|tends to|at times|"
    r"not always|not all that|to some "
    r"extent|would be a stretch|can't claim|doubt)\b",
    re.IGNORECASE,
)
_FAINT = re.compile(
    r"\b(?:slightly|a tiny bit|now and then|once in a while|a little bit|so-so|not always|to some extent)\b",
    re.IGNORECASE,
)
_STRONG = re.compile(
    r"!|\b(?:very|really|so|extremely|absolutely|totally|completely|always|never|deeply|utterly|definitely|"
    r"hugely|incredibly|whatsoever|at "
    r"all|nothing beats|above all|no question|no doubt|certain|certainly|adore|love|hate|loathe|despise|detest|"
    r"can't stand|can't bear|obsessed|"
    r"passion\w*|most of all|no way|all over|big time|by far|to the core|through and through|literally|"
    r"everything to me|must|please)\b",
    re.IGNORECASE,
)
_SHIFT = re.compile(
    r"\b(?:any ?more|no longer|these days|nowadays|from now on|i've become|lately|changed my mind|as of today|"
    r"by now|since then|"
    r"used to|actually|instead|on second thought|from today|going forward|stop|stopped)\b",
    re.IGNORECASE,
)


def stance(sentence: str) -> Stance:
    """How the claim of one sentence is made.

    Example:
        >>> stance("I wouldn't say I'm tidy.").flip, stance("I'm tidy.").flip
        (True, False)
        >>> stance("My brother loves horror films, I don't.").flip
        True
    """
    text = sentence.translate(_APOSTROPHES).strip()
    flip = _denied(text)
    if _TAIL_NO.search(text) or (_ELLIPSIS.search(text) and not _BEGINS_WITH_I.search(text)) or _GONE.search(text):
        flip = not flip
    return Stance(flip, bool(_OPEN.search(text)), _strength(text), bool(_SHIFT.search(text)))


def _denied(text: str) -> bool:
    """Whether the words before the embedded clause deny it."""
    flip = False
    begin = 0
    for match in _CLAUSE.finditer(text):
        prefix = text[begin : match.end()]
        if match.start() == 0 or _FACTIVE.search(text[begin : match.start()]):
            continue
        flip ^= len(_DENIES.findall(prefix)) % 2 == 1
        begin = match.end()
    return flip


def _strength(text: str) -> float:
    hedged, strong = bool(_HEDGED.search(text)), bool(_STRONG.search(text))
    if _FAINT.search(text):
        return 0.35
    if hedged:
        return 0.5
    return 1.0 if strong else 0.75
