"""The reference's procedure on our data: letter A against E, probes split by half-item, strength from a list."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import MissingExtraError
from persona_align.evaluation.papi_answers import Sheet
from persona_align.evaluation.papi_arms import Answered, Study
from persona_align.evaluation.papi_scoring import absolute_errors
from persona_align.steering.asking import questions
from persona_align.steering.lessons import in_evaluation
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.statements import at_the_letter

__all__ = ["STRENGTHS", "reference_arms"]

Floats = NDArray[np.float64]
STRENGTHS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)
_HEADS = 24


def reference_arms(study: Study, people: Sequence[int]) -> dict[str, Answered]:
    """The reference's procedure for some people, its strength chosen in two ways.

    Keys are read correctly, which the reference does not do. "on training answers" is a fair choice of the strength;
    "on test answers" is the published one, which cannot lose, and is shown only to say how much that is worth.

    Args:
        study: The study.
        people: Positions of the people to try.

    Source:
        arXiv 2408.11779, section 4.
    """
    steered = study.sheet.steered
    started = time.perf_counter()
    asked = questions(study.sheet.tokenizer, study.statements)
    with in_evaluation(steered):
        agree, disagree = (
            np.concatenate([at_the_letter(steered, asked[k : k + 16], value) for k in range(0, len(asked), 16)])
            for value in (5, 1)
        )
    shared = time.perf_counter() - started
    training = Sheet(steered, study.sheet.tokenizer, study.statements)
    fair, peeking, seconds = [], [], 0.0
    for person in people:
        started = time.perf_counter()
        displacement = _displacement(agree, disagree, study.training[person], study.seed)
        tried = [
            ActivationOffsets(
                (strength * displacement).reshape(steered.geometry.shape), fingerprint=steered.fingerprint
            )
            for strength in STRENGTHS
        ]
        on_training = np.nanmean(absolute_errors(training.answers(tried), study.training[person][None]), axis=1)
        seconds += time.perf_counter() - started
        answers = study.sheet.answers(tried)
        on_test = np.nanmean(absolute_errors(answers, study.people.agreement[person][None, ~study.items.train]), axis=1)
        fair.append(answers[int(np.argmin(on_training))])
        peeking.append(answers[int(np.argmin(on_test))])
    each, who = seconds / len(people), tuple(people)
    seen = "the test answers, from which the strength is chosen"
    return {
        "reference, strength on training answers": Answered(np.stack(fair), each, shared, people=who),
        "reference, strength on test answers": Answered(np.stack(peeking), each, shared, people=who, seen=seen),
    }


def _displacement(agree: NDArray[np.float32], disagree: NDArray[np.float32], answers: Floats, seed: int) -> Floats:
    """Sigma times direction on the best heads by probe accuracy, [heads, head_dim]."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(
            "The reference's probes need scikit-learn.", 'pip install "persona-align[eval]"'
        ) from error
    used = np.flatnonzero(~np.isnan(answers) & (answers != 3))
    rows = np.stack([agree[used], disagree[used]], axis=1).reshape(-1, *agree.shape[1:]).astype(np.float64)
    labels = np.stack([answers[used] > 3, answers[used] < 3], axis=1).ravel()
    found = np.zeros(agree.shape[1:])
    if len(set(labels.tolist())) < 2:
        return found
    order = np.random.default_rng(seed).permutation(len(rows))
    train, held = order[: int(0.6 * len(order))], order[int(0.6 * len(order)) :]
    accuracy = [
        LogisticRegression(max_iter=1000).fit(rows[train, h], labels[train]).score(rows[held, h], labels[held])
        for h in range(rows.shape[1])
    ]
    for head in np.argsort(-np.array(accuracy), kind="stable")[:_HEADS]:
        direction = rows[labels, head].mean(axis=0) - rows[~labels, head].mean(axis=0)
        direction /= max(float(np.linalg.norm(direction)), 1e-12)
        found[head] = (rows[:, head] @ direction).std() * direction
    return found
