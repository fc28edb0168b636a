"""The reference's personality activation search, written naively: one logistic regression a head, half-items split.

It follows the description of the procedure (arXiv 2408.11779, section 4), not its code, and is slow on purpose: it is
what the closed forms of `persona_align.steering.probes` are compared with, and what they are timed against.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class ReferenceFit:
    """What the reference keeps for one person."""

    accuracy: np.ndarray  # [heads], of a probe on the held-out 40 %
    heads: np.ndarray  # [K], the kept heads, best first
    directions: np.ndarray  # [K, head_dim], unit length
    sigma: np.ndarray  # [K], standard deviation of the activations along the direction


def labelled(agree, disagree, answers):
    """The activations of the usable items, both prompts of each, and whether the person would say so."""
    rows, labels = [], []
    for item, answer in enumerate(answers):
        if np.isnan(answer) or answer == 3:
            continue
        rows += [agree[:, item], disagree[:, item]]
        labels += [answer > 3, answer < 3]
    return np.array(rows), np.array(labels)  # [2 * used, heads, head_dim], [2 * used]


def reference_fit(agree, disagree, answers, *, keep=24, seed=0, by_item=True):
    """One person's heads, directions and sigmas.

    Args:
        agree: Activations of every statement answered with agreement, [heads, items, head_dim].
        disagree: The same answered with disagreement.
        answers: Agreement 1 to 5 an item; NaN is unknown.
        keep: How many heads to keep, K.
        seed: Of the 60/40 split.
        by_item: Split by item; False splits by half-item, as the reference does.
    """
    rows, labels = labelled(agree, disagree, answers)
    rng = np.random.default_rng(seed)
    if by_item:
        order = rng.permutation(len(rows) // 2)
        cut = int(0.6 * len(order))
        train = np.sort(np.concatenate([2 * order[:cut], 2 * order[:cut] + 1]))
        held = np.sort(np.concatenate([2 * order[cut:], 2 * order[cut:] + 1]))
    else:
        order = rng.permutation(len(rows))
        cut = int(0.6 * len(order))
        train, held = order[:cut], order[cut:]
    accuracy = np.zeros(rows.shape[1])
    for head in range(rows.shape[1]):
        probe = LogisticRegression(max_iter=1000).fit(rows[train, head], labels[train])
        accuracy[head] = probe.score(rows[held, head], labels[held])
    heads = np.argsort(-accuracy, kind="stable")[:keep]
    directions, sigma = [], []
    for head in heads:
        direction = rows[labels, head].mean(0) - rows[~labels, head].mean(0)
        direction = direction / np.linalg.norm(direction)
        directions.append(direction)
        sigma.append((rows[:, head] @ direction).std())
    return ReferenceFit(accuracy, heads, np.array(directions), np.array(sigma))


def planted(seed=0, *, heads=64, items=120, head_dim=16, carrying=12, strength=1.5, people=1):
    """Random activations in which `carrying` heads know on which side of a statement a person stands.

    Returns:
        agree, disagree [heads, items, head_dim]; answers [people, items]; the carrying heads.
    """
    rng = np.random.default_rng(seed)
    content = rng.standard_normal((heads, items, head_dim))
    difference = 0.5 * rng.standard_normal((heads, items, head_dim))
    chosen = np.sort(rng.choice(heads, carrying, replace=False))
    key = np.where(rng.random(items) < 0.5, -1.0, 1.0)  # which way a statement is worded
    axis = rng.standard_normal((carrying, head_dim))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    difference[chosen] += strength * key[None, :, None] * axis[:, None, :]
    lean = np.where(rng.random((people, 1)) < 0.5, -1.0, 1.0)
    noise = rng.random((people, items)) < 0.1
    side = lean * key * np.where(noise, -1, 1)
    answers = np.where(side > 0, rng.integers(4, 6, (people, items)), rng.integers(1, 3, (people, items)))
    answers = np.where(rng.random((people, items)) < 0.15, 3, answers).astype(float)
    return content + difference / 2, content - difference / 2, answers, chosen
