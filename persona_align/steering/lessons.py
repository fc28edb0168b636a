"""What a model replies when it is told preferences: the material from which it learns to do without being told."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persona_align.steering.progress import Progress
from persona_align.steering.prompting import rendered, token_ids
from persona_align.steering.steered import SteeredModel

__all__ = ["Lesson", "Told", "in_evaluation", "replies", "reply_logits", "teach"]

_KEPT = 64
"""Likeliest next tokens that a lesson keeps; the rest of the vocabulary is kept as one sum."""


@dataclass(frozen=True)
class Told:
    """A message with and without the preferences in front of it, and which poles those are."""

    message: str
    plain: str
    poles: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """One reply of the told model, to be reached without telling.

    Attributes:
        prompt: Token ids of the plain message.
        reply: Token ids of the told model's reply.
        poles: Which poles were told.
        tokens: The told model's likeliest next tokens at each position of the reply, [reply, kept].
        log_probs: Their log-probabilities, [reply, kept].
    """

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    poles: tuple[int, ...]
    tokens: NDArray[np.int64]
    log_probs: NDArray[np.float32]


def teach(
    steered: SteeredModel,
    tokenizer: Any,
    told: Sequence[Told],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    batch: int = 48,
    progress: Progress | None = None,
) -> list[Lesson]:
    """The told model's replies, and how sure it was of each token; empty replies are left out."""
    lessons: dict[int, Lesson] = {}
    prompts = [_prompt(tokenizer, one.message) for one in told]
    order = sorted(range(len(told)), key=lambda k: len(prompts[k]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        answers = replies(
            steered,
            tokenizer,
            [prompts[k] for k in rows],
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed + start,
        )
        kept = [(k, answer) for k, answer in zip(rows, answers, strict=True) if answer]
        with torch.no_grad(), in_evaluation(steered):
            logits = reply_logits(steered, [(prompts[k], answer) for k, answer in kept]) if kept else []
        for (k, answer), row in zip(kept, logits, strict=True):
            top = torch.log_softmax(row, -1).topk(min(_KEPT, row.shape[-1]), -1)
            lessons[k] = Lesson(
                prompt=tuple(_prompt(tokenizer, told[k].plain)),
                reply=tuple(answer),
                poles=told[k].poles,
                tokens=top.indices.cpu().numpy(),
                log_probs=top.values.cpu().numpy(),
            )
        if progress is not None:
            progress("replies when told", min(start + batch, len(order)), len(order))
    return [lessons[k] for k in sorted(lessons)]


def replies(
    steered: SteeredModel,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[int]]:
    """A reply per prompt, ending with the end-of-sequence token where the model ended it.

    Prompts are padded on the left with whatever the tokenizer pads with. Run it inside `steered.plan(...)` to steer.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (tokenizer.eos_token_id or 0)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=steered.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=steered.device)
    config = copy.deepcopy(steered.model.generation_config)
    ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    config.update(
        max_new_tokens=max_tokens,
        max_length=None,
        min_length=0,
        do_sample=temperature > 0,
        num_beams=1,
        pad_token_id=pad,
    )
    config.update(temperature=temperature if temperature > 0 else 1.0, top_p=1.0, top_k=0 if temperature > 0 else 50)
    with torch.no_grad(), torch.random.fork_rng(devices=_devices(steered)), in_evaluation(steered):
        torch.manual_seed(seed)
        out = steered.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return [_until_end(row[width:].tolist(), ends) for row in out]


def reply_logits(steered: SteeredModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[torch.Tensor]:
    """The logits that predict each token of each reply, a tensor [reply, vocabulary] per row, in float32.

    Rows are padded on the right, where a causal model never looks.
    """
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids = [[*prompt, *reply, *([0] * (width - len(prompt) - len(reply)))] for prompt, reply in rows]
    logits = steered.model(input_ids=torch.tensor(ids, device=steered.device), use_cache=False).logits
    return [logits[k, len(prompt) - 1 : len(prompt) + len(reply) - 1].float() for k, (prompt, reply) in enumerate(rows)]


@contextmanager
def in_evaluation(steered: SteeredModel) -> Iterator[None]:
    """The model in evaluation mode and its lock held; back in the caller's mode afterwards."""
    with steered.lock:
        training = steered.model.training
        steered.model.eval()
        try:
            yield
        finally:
            steered.model.train(training)


def _prompt(tokenizer: Any, message: str) -> list[int]:
    return token_ids(tokenizer, rendered(tokenizer, [{"role": "user", "content": message}]))


def _until_end(tokens: list[int], ends: set[int | None]) -> list[int]:
    for position, token in enumerate(tokens):
        if token in ends:
            return tokens[: position + 1]
    return tokens


def _devices(steered: SteeredModel) -> list[int]:
    device = torch.device(steered.device)
    return [device.index or 0] if device.type == "cuda" else []
