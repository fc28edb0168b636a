"""Endless seeded batches that can be entered at any place, so that an interrupted training just goes on."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from persona_align.demo.corpus.chats import chat
from persona_align.demo.corpus.encoding import Encoder, Lesson
from persona_align.demo.corpus.people import Population
from persona_align.demo.corpus.sheets import sheets
from persona_align.demo.corpus.statements import Statement

__all__ = ["Batch", "chat_batches", "sheet_batches", "stacked"]

_POOL = 384
"""As many chats at least, for large batches more, are sorted by length together, so that a batch has little padding."""
_TOGETHER = 8
"""Batches of sheets that are drawn at once, which is faster."""
_LENGTHS = ((4, 0.1), (12, 0.1), (24, 0.2), (40, 0.6))
"""How many statements a sheet has, and how often."""


@dataclass(frozen=True)
class Batch:
    """Lessons stacked to tensors; `rows` and `places` name what is to be learnt."""

    ids: Any
    learn: Any
    answers: Any
    letters: Any
    facets: Any

    def to(self, device: Any) -> "Batch":
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def chat_batches(encoder: Encoder, tokens: int, seed: int, skip: int = 0) -> Iterator[Batch]:
    """Batches of chats of about the same length, from the one after the first `skip`."""
    number = 0
    for pool in range(10**9):
        rng = random.Random(f"{seed} chats {pool}")
        written = (chat(rng) for _ in range(max(_POOL, tokens // 16)))
        lessons = sorted((encoder.chat(c.messages, c.learn) for c in written), key=_length)
        chunks = _chunks(lessons, tokens)
        rng.shuffle(chunks)
        for chunk in chunks:
            number += 1
            if number > skip:
                yield stacked(chunk)


def sheet_batches(
    encoder: Encoder,
    population: Population,
    statements: Sequence[Statement],
    tokens: int,
    seed: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """Batches of answer sheets, from the one after the first `skip`."""
    for group in range(skip // _TOGETHER, 10**9):
        rng = np.random.default_rng((seed, 1, group))
        length = int(rng.choice([n for n, _ in _LENGTHS], p=[p for _, p in _LENGTHS]))
        people = max(1, tokens // (90 + 13 * length))
        found = sheets(population, statements, people=people * _TOGETHER, length=min(length, len(statements)), rng=rng)
        for part in range(skip - group * _TOGETHER if group == skip // _TOGETHER else 0, _TOGETHER):
            yield stacked([encoder.sheet(sheet) for sheet in found[part * people : (part + 1) * people]])


def stacked(lessons: Sequence[Lesson]) -> Batch:
    """Lessons as one batch, padded on the right."""
    import torch

    width = max(len(lesson.ids) for lesson in lessons)
    ids = torch.zeros((len(lessons), width), dtype=torch.long)
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
    learn = [row * width + place for row, lesson in enumerate(lessons) for place in lesson.learn]
    answers = [row * width + place for row, lesson in enumerate(lessons) for place in lesson.answers]
    letters = np.concatenate([lesson.letters for lesson in lessons])
    facets = np.concatenate([lesson.facets for lesson in lessons])
    return Batch(
        ids,
        torch.tensor(learn, dtype=torch.long),
        torch.tensor(answers, dtype=torch.long),
        torch.tensor(letters, dtype=torch.float32),
        torch.tensor(facets, dtype=torch.float32),
    )


def _chunks(lessons: Sequence[Lesson], tokens: int) -> list[list[Lesson]]:
    chunks: list[list[Lesson]] = [[]]
    for lesson in lessons:
        if chunks[-1] and (len(chunks[-1]) + 1) * len(lesson.ids) > tokens:
            chunks.append([])
        chunks[-1].append(lesson)
    return chunks


def _length(lesson: Lesson) -> int:
    return len(lesson.ids)
