"""One round: a batch of rows through one `generate`, each with its own offsets, sampling and end."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from persona_align.models.rows import Row
from persona_align.models.sampling import RowSampler
from persona_align.steering.steered import SteeredModel

__all__ = ["end_tokens", "run_round"]


def run_round(model: Any, rows: Sequence[Row]) -> None:
    """Generate a reply for every row, in one left-padded batch; returns when all are done.

    Args:
        model: A Hugging Face causal language model.
        rows: They are fed their tokens and deliver their text themselves.
    """
    config = _configuration(model, rows)
    ids, mask = _pad(rows, config.pad_token_id, model.device)
    samplers = LogitsProcessorList()
    if any(row.settings.temperature > 0 for row in rows):
        samplers.append(RowSampler([row.settings for row in rows]))
    with _plan(model, rows):
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=samplers,
            stopping_criteria=StoppingCriteriaList([_Feed(rows)]),
        )


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a reply, by the model's generation settings and by the tokenizer."""
    configured = getattr(model, "generation_config", None)
    found = configured.eos_token_id if configured is not None else None
    listed = found if isinstance(found, list | tuple) else [found]
    return frozenset(int(token) for token in (*listed, tokenizer.eos_token_id) if token is not None)


class _Feed(StoppingCriteria):
    """Hands each row its new token, and tells `generate` which rows are done."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._done: list[bool] = []
        self._flags = torch.empty(0)

    def __call__(  # the signature is transformers'
        self,
        input_ids: torch.LongTensor,
        scores: torch.FloatTensor,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> torch.BoolTensor:
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            try:
                row.accept(token)
            except Exception as error:
                row.fail(error)
        done = [row.done for row in self._rows]
        if done != self._done:  # so that nothing is copied to the device for most tokens
            self._done, self._flags = done, torch.tensor(done, device=input_ids.device)
        return self._flags  # type: ignore[return-value]


def _plan(model: Any, rows: Sequence[Row]) -> AbstractContextManager[Any]:
    offsets = [row.offsets for row in rows]
    # A model that nobody steers keeps its forward pass without our hooks, also one that could not be steered.
    return nullcontext() if all(o is None for o in offsets) else SteeredModel.of(model).plan(offsets)


def _pad(rows: Sequence[Row], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row.prompt) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows])
    mask = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows])
    return ids.to(device), mask.to(device)


def _configuration(model: Any, rows: Sequence[Row]) -> Any:
    """The model's own settings, except for everything that each row decides for itself."""
    blank: Any = GenerationConfig
    # A shallow copy will do: nothing in it is changed in place, and generate copies it whole.
    config: Any = copy.copy(model.generation_config) if model.generation_config is not None else blank()
    ends = sorted(frozenset().union(*(row.ends for row in rows)))
    pad = config.pad_token_id if config.pad_token_id is not None else (ends[0] if ends else 0)
    config.update(
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        num_beams=1,
        num_return_sequences=1,
        max_new_tokens=max(row.settings.max_tokens for row in rows),
        max_length=None,
        eos_token_id=None,  # the rows know their ends
        pad_token_id=pad,
        return_dict_in_generate=False,
        output_scores=False,
        output_logits=False,
    )
    return config
