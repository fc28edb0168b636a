"""Answer sheets of simulated people, with what an ideal reader would expect of each answer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_align.conditioning.layouts import preferences_block
from persona_align.demo.corpus.people import Population
from persona_align.demo.corpus.statements import TRAITS, Statement
from persona_align.preferences import ALIGNX
from persona_align.steering.questionnaire import answer_letter, questionnaire

__all__ = ["TRAIT_KEYS", "Sheet", "persona", "sheets"]

TRAIT_KEYS = {
    "O": "openness",
    "C": "conscientiousness",
    "E": "extraversion",
    "A": "agreeableness",
    "N": "neuroticism",
}
_MIDDLE = 2


@dataclass(frozen=True)
class Sheet:
    """One person's answers to some statements.

    Attributes:
        messages: The conversation, each statement answered with a letter.
        letters: How likely the ideal reader holds each letter A to E, for each statement in turn, [statements, 5].
        facets: What the ideal reader believes of the thirty facets before each answer, [statements, 30].
    """

    messages: tuple[dict[str, str], ...]
    letters: NDArray[np.float64]
    facets: NDArray[np.float64]


def sheets(
    population: Population, statements: Sequence[Statement], *, people: int, length: int, rng: np.random.Generator
) -> list[Sheet]:
    """The sheets of some new people, a random part of whom are described to the model first."""
    latent, agreement = population.draw(people, rng)
    levels = population.levels(latent)
    told = rng.random(people) < 0.3
    order = np.argsort(rng.random((people, len(statements))), axis=1)[:, :length]
    beliefs = population.beliefs(people)
    beliefs.tell(levels, told)
    everyone = np.arange(people)
    expected, facets = [], []
    for position in range(order.shape[1]):
        asked = order[:, position]
        expected.append(beliefs.probabilities(asked))
        facets.append(beliefs.mean[:, :30])
        beliefs.answer(asked, agreement[everyone, asked])
    reverse = rng.random(people) < 0.5
    shuffle = random.Random(int(rng.integers(2**31)))
    found = []
    for person in range(people):
        block = persona(levels[person], shuffle) if told[person] else ""
        answers = [(statements[i].text, int(agreement[person, i])) for i in order[person]]
        messages = questionnaire(answers[-1][0], answers[:-1], reverse=bool(reverse[person]), persona=block)
        last = {"role": "assistant", "content": answer_letter(answers[-1][1], reverse=bool(reverse[person]))}
        likely = np.stack([step[person] for step in expected])
        letters = likely if reverse[person] else likely[:, ::-1]
        found.append(Sheet((*messages, last), letters, np.stack([step[person] for step in facets])))
    return found


def persona(levels: Sequence[int], rng: random.Random | None = None) -> str:
    """The five trait quintiles, 0..4 in the order of OCEAN, as a PBA block; a middling trait is left out.

    Example:
        >>> print(persona([2, 2, 4, 2, 1]).splitlines()[1:])
        ['- High Extraversion (strongly)', '- Low Neuroticism']
    """
    lines = []
    for trait, level in zip(TRAITS, levels, strict=True):
        dimension = ALIGNX[TRAIT_KEYS[trait]]
        if level != _MIDDLE:
            name = dimension.high if level > _MIDDLE else dimension.low
            lines.append(f"{name} (strongly)" if level in (0, 4) else name)
    if rng:
        rng.shuffle(lines)
    return preferences_block(lines)
