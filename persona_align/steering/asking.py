"""Statements put to a model, and how likely it finds each answer: five letters, in both orders."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from persona_align.errors import UnsupportedModelError
from persona_align.steering.prompting import rendered, token_ids
from persona_align.steering.questionnaire import answer_letter, questionnaire
from persona_align.steering.steered import SteeredModel

__all__ = ["AGREEMENT", "Question", "answer_logits", "expected_agreement", "question", "questions"]

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


def questions(tokenizer: Any, statements: Sequence[str]) -> tuple[list[Question], list[Question]]:
    """Every statement in both orders of the letters: A for agreement, and A for disagreement."""
    return (
        [question(tokenizer, text) for text in statements],
        [question(tokenizer, text, reverse=True) for text in statements],
    )


def answer_logits(
    steered: SteeredModel, asked: Sequence[Question], offsets: torch.Tensor | None = None, *, share: bool = True
) -> torch.Tensor:
    """The logits of the five answers, in one pass that gradients can flow through.

    What all questions begin with is read once and its keys and values are shared, which changes nothing but the time.

    Args:
        steered: The model.
        asked: The questions.
        offsets: Added to the head outputs at every position, one set a person, [people, layers, heads, head_dim].
        share: False reads every question whole, in a row of its own: `offsets` then holds one set a question.

    Returns:
        [people, questions, 5], in the order of agreement 1 to 5; without sharing [1, questions, 5].
    """
    people = 1 if offsets is None or not share else len(offsets)
    shared = _common([one.prompt for one in asked]) if share else 0
    shared = min(shared, min(len(one.prompt) for one in asked) - 1)
    past = None
    if shared > 0:
        ids = torch.tensor([asked[0].prompt[:shared]] * people, device=steered.device)
        with _injected(steered, offsets):
            past = steered.model(input_ids=ids, use_cache=True).past_key_values
        past.batch_repeat_interleave(len(asked))
    width = max(len(one.prompt) for one in asked) - shared
    # Padded on the right, where a causal model never looks.
    rows = [[*one.prompt[shared:], *([0] * (width + shared - len(one.prompt)))] for one in asked]
    ids = torch.tensor(rows * people, device=steered.device)
    spread = offsets.repeat_interleave(len(asked), 0) if offsets is not None and share else offsets
    with _injected(steered, spread):
        logits = steered.model(input_ids=ids, past_key_values=past, use_cache=past is not None).logits
    last = torch.tensor([len(one.prompt) - shared - 1 for one in asked] * people, device=logits.device)
    letters = torch.tensor([one.letters for one in asked] * people, device=logits.device)
    picked = logits[torch.arange(len(last), device=logits.device), last].gather(1, letters)
    shaped: torch.Tensor = picked.float().view(people, len(asked), 5)
    return shaped


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


def _injected(steered: SteeredModel, offsets: torch.Tensor | None) -> Any:
    return nullcontext() if offsets is None else steered.inject(offsets)
