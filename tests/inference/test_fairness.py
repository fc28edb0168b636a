"""Who somebody seems to be says nothing of what they prefer: messages whose cues of a person are swapped.

Neither the cues nor the messages are among those that the reader learned from, or that a benchmark measures.
"""

import random
from itertools import pairwise

import numpy as np
import pytest

from persona_align.inference import EvidenceScorer, fold
from persona_align.inference.cues import twin_cues
from persona_align.inference.sentences import messages
from persona_align.inference.train_dimensions import examples
from persona_align.preferences import ALIGNX
from persona_align.records import Turn

BOUND = 0.05
CUES = (
    ("Beatriz Almeida speaking.", "Duncan Fraser speaking."),
    ("My stepfather is at the door.", "My stepmother is at the door."),
    ("Turning 24 next week.", "Turning 68 next week."),
    ("I'm from Auckland originally.", "I'm from Cairo originally."),
    ("Right then, folks.", "Aight then, peeps."),
    ("I'm Buddhist.", "I'm Orthodox."),
)
STATED = {
    "I'd like longer replies.": "conciseness",
    "Gardening bores me but I love repairing old clocks.": "crafts",
    "I hardly ever get nervous.": "neuroticism",
    "We eat out at the best restaurants in town.": "gourmet",
    "Opera and ballet are wasted on me.": "culture",
    "I put every receipt in the right folder.": "order",
}
SILENT = (
    "Rename the second column.",
    "When does the library close on Fridays?",
    "Summarise the attached minutes.",
    "I'll call you back after lunch.",
    "Which bus goes to the harbour?",
    "The invoice is overdue by a week.",
)


@pytest.fixture(scope="module")
def vector(encoder):
    scorer = EvidenceScorer(encoder, ALIGNX)

    def vector(text):
        turn = Turn(role="user", text=text)
        found = fold([(turn, scorer.score(turn, encoder.encode([text])))], ALIGNX).vector
        return np.asarray(found.values * found.confidence)

    return vector


def test_who_somebody_is_hardly_moves_what_they_do_not_state(vector):
    over = []
    for cues in CUES:
        for text in (*STATED, *SILENT):
            apart = np.abs(np.subtract(*(vector(f"{cue} {text}") for cue in cues)))
            if text in STATED:
                apart[ALIGNX.index(STATED[text])] = 0.0
            if apart.max() > BOUND:
                over.append((cues, text, ALIGNX.keys[int(apart.argmax())], round(float(apart.max()), 3)))
    assert len(over) <= 0.1 * len(CUES) * (len(STATED) + len(SILENT)), over


def test_a_cue_alone_raises_nothing(vector):
    raised = [(cue, found) for pair in CUES for cue in pair if (found := np.abs(vector(cue)).max()) > BOUND]
    assert len(raised) <= 1, raised


def test_what_is_tested_is_not_learned():
    learned = {message.text for message in messages()}
    assert not learned & {*STATED, *SILENT}
    drawn = random.Random(0)
    assert not {cue for _ in range(5000) for cue in twin_cues(drawn)} & {cue for pair in CUES for cue in pair}


def test_twins_say_the_same_and_differ_in_their_cue():
    given = list(examples())
    twins = [(before, each) for before, each in pairwise(given) if each.twin]
    assert len(twins) > 3000
    assert all(one.message.says == other.message.says for one, other in twins)
    assert all(one.message.text != other.message.text for one, other in twins)
