"""What a model answers to statements: by the probability of each letter, or by what it writes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.asking import Asked, Question, question, questions
from persona_align.steering.lessons import in_evaluation, replies
from persona_align.steering.offsets import ActivationOffsets, Positions
from persona_align.steering.questionnaire import LETTERS
from persona_align.steering.steered import SteeredModel

__all__ = ["Sheet", "median_answer", "read_letter"]

Floats = NDArray[np.float64]
_AT_ONCE = 240


@dataclass(frozen=True)
class Sheet:
    """A list of statements to be answered by a model, in both orders of the letters.

    Args:
        steered: The model.
        tokenizer: Its tokenizer.
        statements: What is asked, one statement a prompt.
        by: "probability" takes the median of the probabilities of the five letters, over both orders; "generation"
            lets the model write and reads the letter, and averages over both orders.
    """

    steered: SteeredModel
    tokenizer: Any
    statements: Sequence[str]
    by: str = "probability"
    _kept: dict[Positions, list[Asked]] = field(default_factory=dict, repr=False, compare=False)

    def answers(
        self,
        offsets: Sequence[ActivationOffsets | None] = (None,),
        *,
        answered: Sequence[tuple[str, int]] = (),
        persona: str = "",
    ) -> Floats:
        """The answers under each of some offsets, 1 to 5, [offsets, statements]; NaN where no letter could be read.

        Args:
            offsets: One entry a person; None is the plain model.
            answered: Statements already answered, shown as earlier turns.
            persona: Text in front of the first message.
        """
        asked = [
            questions(self.tokenizer, self.statements, reverse=reverse, answered=answered, persona=persona)
            for reverse in (False, True)
        ]
        if self.by == "generation":
            return np.array([self._written(asked, one) for one in offsets])
        plain = not answered and not persona
        return np.concatenate(
            [self._median(asked, offsets[k : k + 4], plain) for k in range(0, len(offsets), 4)]  # 4 people at a time
        )

    def prompt_tokens(self, *, answered: Sequence[tuple[str, int]] = (), persona: str = "") -> int:
        """How many tokens a persona adds to a prompt."""
        with_it = question(self.tokenizer, self.statements[0], answered=answered, persona=persona)
        return len(with_it.prompt) - len(question(self.tokenizer, self.statements[0]).prompt)

    def _median(self, asked: list[list[Question]], offsets: Sequence[ActivationOffsets | None], plain: bool) -> Floats:
        steering = [one for one in offsets if one is not None and not one.is_zero]
        values, positions = None, steering[0].positions if steering else "all"
        if any(one.positions != positions for one in steering):
            msg = "offsets that are asked together must act at the same positions"
            raise ValueError(msg)
        if steering:
            zero = np.zeros(self.steered.geometry.shape, np.float32)
            stacked = np.stack([zero if one is None else one.values for one in offsets])
            values = torch.from_numpy(stacked).to(self.steered.device)
        ready = self._ready(asked, positions) if plain else [Asked(self.steered, order, positions) for order in asked]
        size = max(_AT_ONCE // len(offsets), 1)
        parts = []
        with torch.no_grad(), in_evaluation(self.steered):
            for start in range(0, len(self.statements), size):
                items = range(start, min(start + size, len(self.statements)))
                both = [order.logits(values, items) for order in ready]
                parts.append(((both[0].softmax(-1) + both[1].softmax(-1)) / 2).double().cpu().numpy())
        found = median_answer(np.concatenate(parts, axis=1))
        return found if steering else np.repeat(found, len(offsets), axis=0)

    def _ready(self, asked: list[list[Question]], positions: Positions) -> list[Asked]:
        """The statements without a persona in the prompt, which many people's offsets are tried on."""
        if positions not in self._kept:
            self._kept[positions] = [Asked(self.steered, order, positions) for order in asked]
        return self._kept[positions]

    def _written(self, asked: list[list[Question]], offsets: ActivationOffsets | None, batch: int = 60) -> Floats:
        orders = []
        for reverse, order in enumerate(asked):
            letters: list[float] = []
            for start in range(0, len(order), batch):
                part = [one.prompt for one in order[start : start + batch]]
                with self.steered.plan([offsets] * len(part)):
                    written = replies(self.steered, self.tokenizer, part, max_tokens=8)
                letters += [read_letter(self.tokenizer.decode(row), reverse=bool(reverse)) for row in written]
            orders.append(letters)
        found: Floats = np.mean(orders, axis=0)  # an order that cannot be read leaves the answer unread
        return found


def median_answer(probabilities: Floats) -> Floats:
    """The median of a distribution over the answers 1 to 5, along the last axis.

    Example:
        >>> float(median_answer(np.array([0.1, 0.2, 0.1, 0.4, 0.2])))
        4.0
    """
    below: Floats = (np.cumsum(probabilities, axis=-1) < 0.5 - 1e-9).sum(axis=-1) + 1.0
    return below


def read_letter(text: str, *, reverse: bool = False) -> float:
    """The agreement that a written reply states, NaN where it names no letter A to E on its own.

    Example:
        >>> read_letter("(B). Moderately accurate"), read_letter("B", reverse=True), read_letter("Because I am.")
        (4.0, 2.0, nan)
    """
    found = re.search(rf"(?<![A-Za-z])([{LETTERS}])(?![A-Za-z'])", text)
    if found is None:
        return float("nan")
    place = LETTERS.index(found.group(1))
    return float(place + 1 if reverse else 5 - place)
