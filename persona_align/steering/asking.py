"""Statements put to a model, and how likely it finds each answer: five letters, in both orders."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from persona_align.errors import UnsupportedModelError
from persona_align.steering.offsets import Positions
from persona_align.steering.prompting import rendered, token_ids
from persona_align.steering.questionnaire import answer_letter, questionnaire
from persona_align.steering.steered import SteeredModel

__all__ = ["AGREEMENT", "Asked", "Question", "expected_agreement", "question", "questions"]

AGREEMENT = torch.arange(1.0, 6.0)


@dataclass(frozen=True)
class Question:
    """One statement in one order of the letters, ready for the model.

    Attributes:
        prompt: Token ids up to where the letter follows.
        letters: The token id of the answer for an agreement of 1, 2, 3, 4 and 5.
    """

    prompt: tuple[int, ...]
    letters: tuple[int, ...]


def question(
    tokenizer: Any,
    statement: str,
    *,
    reverse: bool = False,
    answered: Sequence[tuple[str, int]] = (),
    persona: str = "",
) -> Question:
    """A statement as the model reads it; see `questionnaire` for the arguments.

    Raises:
        UnsupportedModelError: The tokenizer does not tell the five letters apart.
    """
    text = rendered(tokenizer, questionnaire(statement, answered, reverse=reverse, persona=persona))
    # Some tokenizers join the letter with what stands before it, so both are read together.
    whole = [token_ids(tokenizer, text + answer_letter(value, reverse=reverse)) for value in range(1, 6)]
    prompt = whole[0][: _common(whole)]
    letters = tuple(ids[len(prompt)] for ids in whole if len(ids) > len(prompt))
    if len(set(letters)) < 5:
        raise UnsupportedModelError(
            f"This tokenizer ({type(tokenizer).__name__}) does not tell the answers A to E apart.",
            "Use a tokenizer in which the letters A to E are tokens of their own.",
        )
    return Question(tuple(prompt), letters)


def questions(
    tokenizer: Any,
    statements: Sequence[str],
    *,
    reverse: bool = False,
    answered: Sequence[tuple[str, int]] = (),
    persona: str = "",
) -> list[Question]:
    """Several statements, each in a prompt of its own; see `questionnaire` for the arguments."""
    if not statements:
        return []
    first = question(tokenizer, statements[0], reverse=reverse, answered=answered, persona=persona)
    texts = [
        rendered(tokenizer, questionnaire(text, answered, reverse=reverse, persona=persona)) for text in statements
    ]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    if (
        tuple(prompts[0]) == first.prompt
    ):  # the letter stands for itself behind the prompt, as behind all that end alike
        return [Question(tuple(prompt), first.letters) for prompt in prompts]
    return [question(tokenizer, text, reverse=reverse, answered=answered, persona=persona) for text in statements]


class Asked:
    """Questions ready to be asked under offsets, again and again.

    With the positions "all", an offset acts on every token; what all questions begin with is read once per call. With
    "last_prompt_onward", it acts on the token from which the answer follows: all that comes before is the same for
    everybody, is read once, and its keys and values are kept.

    Args:
        steered: The model.
        questions: What is asked.
        positions: Where offsets act.
    """

    def __init__(self, steered: SteeredModel, questions: Sequence[Question], positions: Positions = "all") -> None:
        if positions == "generated":
            msg = "an answer is the first token after the prompt, which offsets of generated positions never reach"
            raise ValueError(msg)
        self.steered, self.questions, self.positions = steered, tuple(questions), positions
        self._read: dict[int, tuple[list[int], Any]] = {}

    def logits(self, offsets: torch.Tensor | None = None, items: Sequence[int] | None = None) -> torch.Tensor:
        """The logits of the five answers to each question under each person's offsets; gradients flow through.

        Args:
            offsets: One set a person, [people, layers, heads, head_dim]; None asks the plain model.
            items: Which questions; None asks all.

        Returns:
            [people, questions, 5], in the order of agreement 1 to 5.
        """
        chosen = list(range(len(self.questions)) if items is None else items)
        people = 1 if offsets is None else len(offsets)
        if self.positions == "all":
            return self._shared_beginning(chosen, offsets).view(people, len(chosen), 5)
        rows = None if offsets is None else offsets.repeat(len(chosen), 1, 1, 1)
        return self._last_token(chosen, people, rows).view(len(chosen), people, 5).transpose(0, 1)

    def logits_each(self, offsets: torch.Tensor, items: Sequence[int]) -> torch.Tensor:
        """The same with an offset of its own for each question, [questions, 5]."""
        if self.positions == "all":
            return self._from(0, list(items), None, offsets)
        return self._last_token(list(items), 1, offsets)

    def _shared_beginning(self, items: list[int], offsets: torch.Tensor | None) -> torch.Tensor:
        prompts = [self.questions[k].prompt for k in items]
        shared = min(_common(prompts), min(map(len, prompts)) - 1)
        past, people = None, 1 if offsets is None else len(offsets)
        if shared > 0:
            ids = torch.tensor([prompts[0][:shared]] * people, device=self.steered.device)
            with _injected(self.steered, offsets):
                past = self.steered.model(input_ids=ids, use_cache=True).past_key_values
            past.batch_repeat_interleave(len(items))
        rows = None if offsets is None else offsets.repeat_interleave(len(items), 0)
        return self._from(shared, items * people, past, rows)

    def _from(self, start: int, items: list[int], past: Any, offsets: torch.Tensor | None) -> torch.Tensor:
        """Read the questions from a position on, padded on the right, where a causal model never looks."""
        asked = [self.questions[k] for k in items]
        width = max(len(one.prompt) for one in asked)
        rows = [[*one.prompt[start:], *([0] * (width - len(one.prompt)))] for one in asked]
        ids = torch.tensor(rows, device=self.steered.device)
        with _injected(self.steered, offsets):
            logits = self.steered.model(input_ids=ids, past_key_values=past, use_cache=past is not None).logits
        last = [len(one.prompt) - start - 1 for one in asked]
        return self._answers(logits[torch.arange(len(items), device=logits.device), last], items)

    def _last_token(self, items: list[int], people: int, offsets: torch.Tensor | None) -> torch.Tensor:
        """Read only the last token of each question; rows are question by question, [questions * people, 5]."""
        parts, order = [], []
        for length in sorted({len(self.questions[k].prompt) for k in items}):
            places = [place for place, k in enumerate(items) if len(self.questions[k].prompt) == length]
            known, past = self._before_the_last(length)
            past = _light_copy(past)
            past.batch_select_indices(torch.tensor([known.index(items[place]) for place in places]))
            if people > 1:
                past.batch_repeat_interleave(people)
            last = [[self.questions[items[place]].prompt[-1]] for place in places for _ in range(people)]
            rows = [place * people + person for place in places for person in range(people)]
            with _injected(self.steered, None if offsets is None else offsets[rows]):
                ids = torch.tensor(last, device=self.steered.device)
                logits = self.steered.model(input_ids=ids, past_key_values=past, use_cache=True).logits[:, -1]
            parts.append(self._answers(logits, [items[row // people] for row in rows]))
            order += rows
        return torch.cat(parts)[torch.argsort(torch.tensor(order))]

    def _before_the_last(self, length: int) -> tuple[list[int], Any]:
        """The questions of a length, and the keys and values of all their tokens but the last."""
        if length not in self._read:
            known = [k for k, one in enumerate(self.questions) if len(one.prompt) == length]
            ids = torch.tensor([self.questions[k].prompt[:-1] for k in known], device=self.steered.device)
            with torch.no_grad():
                self._read[length] = known, self.steered.model(input_ids=ids, use_cache=True).past_key_values
        return self._read[length]

    def _answers(self, logits: torch.Tensor, items: list[int]) -> torch.Tensor:
        letters = torch.tensor([self.questions[k].letters for k in items], device=logits.device)
        return logits.gather(1, letters).float()


def expected_agreement(logits: torch.Tensor) -> torch.Tensor:
    """The mean agreement, 1 to 5, under the probabilities of the five answers."""
    return logits.softmax(-1) @ AGREEMENT.to(logits)


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def _light_copy(cache: Any) -> Any:
    """A cache that can grow without the original growing: its tensors are shared where growing makes new ones."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in getattr(cache, "layers", [None])):
        return copy.deepcopy(cache)
    light = copy.copy(cache)
    light.layers = [copy.copy(layer) for layer in cache.layers]
    return light


def _injected(steered: SteeredModel, offsets: torch.Tensor | None) -> Any:
    return nullcontext() if offsets is None else steered.inject(offsets)
