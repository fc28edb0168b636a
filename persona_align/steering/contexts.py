"""How a model's heads move when it has come to know somebody: the directions in which a persona lives.

The model answers statements as people of its own: it answers one, is shown its answer, answers the next, and so on.
What its heads put out at the next statement, against the same statement asked of nobody, is how it holds what it has
read. Offsets that lie in these directions mean something to the model; most others only disturb it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.asking import Asked, Question, question, questions
from persona_align.steering.lessons import in_evaluation
from persona_align.steering.progress import Progress
from persona_align.steering.statements import capture_key, kept
from persona_align.steering.steered import SteeredModel

__all__ = ["context_shifts"]

Singles = NDArray[np.float32]


def context_shifts(
    steered: SteeredModel,
    tokenizer: Any,
    statements: Sequence[str],
    *,
    people: int = 48,
    shown: int = 6,
    asked: int = 6,
    seed: int = 0,
    batch: int = 12,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Singles:
    """The shifts of all head outputs at the answer, [people * asked, layers * heads * head_dim].

    Args:
        steered: The model.
        tokenizer: Its tokenizer.
        statements: First-person statements; fewer than four give no shifts.
        people: How many people the model makes up.
        shown: How many of their answers it has read.
        asked: At how many further statements its heads are recorded.
        seed: Of the choice of statements and answers.
        batch: People at a time.
        cache: A folder in which the shifts are kept.
        progress: Called after each batch.
    """
    size = int(np.prod(steered.geometry.shape))
    shown, asked = min(shown, len(statements) // 2), min(asked, len(statements) - len(statements) // 2)
    if min(shown, asked) < 2:
        return np.zeros((0, size), np.float32)
    key = f"{capture_key(steered, tokenizer, statements, 'all', batch)}-{people}-{shown}-{asked}-{seed}"
    file = Path(cache) / f"contexts-{key}.safetensors" if cache is not None else None
    arguments = (steered, tokenizer, statements, people, shown, asked, seed, batch, progress)
    return kept(file, key, lambda: {"shifts": _shifts(*arguments)})["shifts"]


def _shifts(
    steered: SteeredModel,
    tokenizer: Any,
    statements: Sequence[str],
    people: int,
    shown: int,
    asked: int,
    seed: int,
    batch: int,
    progress: Progress | None,
) -> Singles:
    rng, parts = np.random.default_rng(seed), []
    for start in range(0, people, batch):
        orders = [rng.permutation(len(statements))[: shown + asked] for _ in range(min(batch, people - start))]
        with torch.no_grad(), in_evaluation(steered):
            sheets = _made_up(steered, tokenizer, [[statements[k] for k in row[:shown]] for row in orders], rng)
            reverse = [bool(rng.integers(2)) for _ in orders]
            known, unknown = [], []
            for answered, row, turned in zip(sheets, orders, reverse, strict=True):
                texts = [statements[k] for k in row[shown:]]
                known += questions(tokenizer, texts, reverse=turned, answered=answered)
                unknown += questions(tokenizer, texts, reverse=turned)
            parts.append(_at_the_end(steered, known) - _at_the_end(steered, unknown))
        if progress is not None:
            progress("made-up people", min(start + batch, people), people)
    shifts = np.concatenate(parts)
    centred: Singles = shifts - shifts.mean(axis=0)  # what all have in common is having read anything at all
    return centred


def _made_up(
    steered: SteeredModel, tokenizer: Any, chosen: Sequence[Sequence[str]], rng: np.random.Generator
) -> list[list[tuple[str, int]]]:
    """The answers of people whom the model makes up, statement by statement."""
    sheets: list[list[tuple[str, int]]] = [[] for _ in chosen]
    for step in range(len(chosen[0])):
        asked = [question(tokenizer, row[step], answered=sheet) for row, sheet in zip(chosen, sheets, strict=True)]
        likely = Asked(steered, asked).logits()[0].softmax(-1).double().cpu().numpy()
        for row, sheet, probabilities in zip(chosen, sheets, likely, strict=True):
            sheet.append((row[step], int(rng.choice(5, p=probabilities / probabilities.sum())) + 1))
    return sheets


def _at_the_end(steered: SteeredModel, asked: Sequence[Question], batch: int = 36) -> Singles:
    """Head outputs at the token from which the answer follows, [questions, layers * heads * head_dim]."""
    parts = []
    for start in range(0, len(asked), batch):
        rows = [one.prompt for one in asked[start : start + batch]]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *([0] * (width - len(row)))] for row in rows], device=steered.device)
        with steered.capture() as captured:
            steered.model(input_ids=ids, use_cache=False)
        last = [len(row) - 1 for row in rows]
        layers = [heads[range(len(rows)), last].float().cpu() for heads in captured.heads]
        parts.append(torch.stack(layers, dim=1).flatten(1).numpy())
    return np.concatenate(parts)
