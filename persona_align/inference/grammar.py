"""Small grammar over first-person sentences: deny them, or tell them of somebody else."""

import re

__all__ = ["negated", "reported", "third_person"]

_AUXILIARIES = {
    "can": "can't",
    "could": "couldn't",
    "would": "wouldn't",
    "will": "won't",
    "should": "shouldn't",
    "must": "needn't",
    "am": "am not",
    "was": "wasn't",
    "were": "weren't",
}
_POSITIVE = {negative: positive for positive, negative in _AUXILIARIES.items()}
_ADVERBS = r"(?:really |usually |often |always |just |still |honestly |mostly |quite |simply |actually |only |also )?"
_IRREGULAR = {
    "have": "has",
    "do": "does",
    "go": "goes",
    "am": "is",
    "don't": "doesn't",
    "haven't": "hasn't",
    "was": "was",
}
_INVARIANT = frozenset({*_AUXILIARIES, *_AUXILIARIES.values(), "had", "did", "didn't", "might", "may", "cannot"})
_PAST = re.compile(
    r"^(?:\w+ed|was|were|bought|sold|got|gave|took|kept|left|felt|lost|put|sat|told|spent|built|became|went|sang|won|"
    r"let|read)$"
)
_PRONOUNS = {
    "i": "he",
    "i'm": "he's",
    "i'd": "he'd",
    "i've": "he's",
    "i'll": "he'll",
    "me": "him",
    "my": "his",
    "mine": "his",
    "myself": "himself",
}


def negated(text: str) -> list[str]:
    """First-person sentences that say the opposite, by denying the verb; empty where the sentence is not of that kind.

    Example:
        >>> negated("I plan the week on Sunday evening.")
        ["I don't plan the week on Sunday evening.", 'I hardly ever plan the week on Sunday evening.']
        >>> negated("I'm a nervous wreck.")
        ["I'm not a nervous wreck.", "I wouldn't say I'm a nervous wreck."]
        >>> negated("I don't play games.")
        ['I do play games.', 'I play games.']
    """
    text = text.strip()
    if "," in text or ";" in text:
        return []  # a denial would reach only a part of it
    if match := re.match(r"(I'm|I am) (not )?(.+)", text):
        rest = match.group(3)
        return [f"I am {rest}", f"I'm {rest}"] if match.group(2) else [f"I'm not {rest}", f"I wouldn't say I'm {rest}"]
    if match := re.match(r"I (don't|do not|never|rarely|seldom) (.+)", text):
        return [f"I do {match.group(2)}", f"I {match.group(2)}"]
    if match := re.match(rf"I ({_ADVERBS})(\S+) (.+)", text):
        adverb, verb, rest = match.groups()
        if verb in _AUXILIARIES:
            return [f"I {_AUXILIARIES[verb]} {rest}"]
        if verb in _POSITIVE:
            return [f"I {_POSITIVE[verb]} {rest}"]
        if (
            verb in _INVARIANT
            or _PAST.match(verb)
            or verb.endswith("n't")
            or not verb.isalpha()
            or verb in {"only", "even"}
        ):
            return []
        return [f"I don't {adverb}{verb} {rest}", f"I hardly ever {verb} {rest}"]
    return []


def reported(text: str, other: str) -> str | None:
    """A first-person sentence, told of somebody else; None where the grammar does not cover it.

    Example:
        >>> reported("I plan my week on Sunday.", "my brother")
        'My brother plans his week on Sunday.'
    """
    moved = third_person(text)
    if moved is None:
        return None
    subject = other[:1].upper() + other[1:]
    return re.sub(
        r"^He's\b",
        f"{subject} is",
        re.sub(r"^(?:He|His)\b", lambda m: subject + ("'s" if m[0] == "His" else ""), moved, count=1)
        if not moved.startswith("He's")
        else moved,
    )


def third_person(text: str) -> str | None:
    """A first-person sentence with its author as "he"; None where it does not begin with one."""
    if not re.match(r"(?:I|I'm|I'd|I've|My)\b", text):
        return None
    words = text.split()
    moved: list[str] = []
    subject = False
    for word in words:
        core = word.strip('.,!?;:"').lower()
        if subject:
            word = word.replace(core, _conjugate(core), 1) if core == word.strip('.,!?;:"') else word
            subject = core in {
                "really",
                "usually",
                "often",
                "always",
                "never",
                "just",
                "still",
                "also",
                "only",
                "rarely",
                "seldom",
                "mostly",
            }
        elif core in _PRONOUNS:
            word = re.sub(re.escape(core), _PRONOUNS[core], word, count=1, flags=re.IGNORECASE)
            subject = core == "i"
        moved.append(word)
    result = " ".join(moved)
    return result[:1].upper() + result[1:]


def _conjugate(verb: str) -> str:
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if (
        verb in _INVARIANT
        or _PAST.match(verb)
        or verb
        in {
            "really",
            "usually",
            "often",
            "always",
            "never",
            "just",
            "still",
            "also",
            "only",
            "rarely",
            "seldom",
            "mostly",
        }
    ):
        return verb
    if re.search(r"(?:s|sh|ch|x|z|o)$", verb):
        return f"{verb}es"
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}s"
