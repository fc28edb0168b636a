"""Conversations as token ids, with what is to be learnt at each place."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.demo.corpus.sheets import Sheet

__all__ = ["Encoder", "Lesson"]


@dataclass(frozen=True)
class Lesson:
    """One conversation to learn from.

    Attributes:
        ids: Tokens.
        learn: Places whose next token is to be learnt.
        answers: Places at which a questionnaire's letter follows; none in a chat.
        letters: Probabilities of A to E there, [answers, 5].
        facets: Beliefs about the thirty facets there, [answers, 30].
    """

    ids: list[int]
    learn: list[int]
    answers: list[int]
    letters: NDArray[np.float64]
    facets: NDArray[np.float64]


class Encoder:
    """Turns conversations into lessons, in the same tokens as the tokenizer's chat template does."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        special = tokenizer.convert_tokens_to_ids
        self._begin, self._end = special("<|begin|>"), special("<|end|>")
        self._roles = {role: special(f"<|{role}|>") for role in ("system", "user", "assistant", "tool")}
        self.letters: list[int] = [self._ids(letter)[0] for letter in "ABCDE"]

    def chat(self, messages: Sequence[Mapping[str, str]], learn: Collection[int]) -> Lesson:
        """A chat, of which the messages at the places in `learn` are to be learnt."""
        ids = [self._begin]
        places: list[int] = []
        for number, message in enumerate(messages):
            content = [*self._ids(message["content"]), self._end]
            ids.append(self._roles[message["role"]])
            if number in learn:
                places += range(len(ids) - 1, len(ids) - 1 + len(content))
            ids += content
        return Lesson(ids, places, [], np.empty((0, 5)), np.empty((0, 30)))

    def sheet(self, sheet: Sheet) -> Lesson:
        """An answer sheet: at each letter its probabilities are learnt, and behind it the end of the message."""
        ids, places, answers = [self._begin], [], []
        for message in sheet.messages:
            ids.append(self._roles[message["role"]])
            if message["role"] == "assistant":
                answers.append(len(ids) - 1)
                places.append(len(ids))
            ids += [*self._ids(message["content"]), self._end]
        return Lesson(ids, places, answers, sheet.letters, sheet.facets)

    def _ids(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)
