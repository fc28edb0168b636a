"""Log-probability accuracy of ICA, PBA and PAS: does aligning raise the chosen reply more than the rejected one?

Source: AlignX (arXiv 2503.15463), alignment accuracy: the share of cases in which the policy's log-probability gain
over the reference model is larger for the chosen reply. The reference is the same model without the user.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from langchain_core.messages import BaseMessage, HumanMessage

from persona_align.aligner import PersonaAligner
from persona_align.conditioning import ica, pba
from persona_align.encoder import Encoder
from persona_align.evaluation.cases import Case
from persona_align.evaluation.tasting import accuracy
from persona_align.models.chat import ChatTransformers
from persona_align.models.prompts import render
from persona_align.steering import ActivationOffsets, SteeringBasis
from persona_align.steering.steered import SteeredModel

__all__ = ["Replies", "model_arms"]

ROOM = 512
"""Tokens that a user's records or preferences may add to the prompt."""


class Replies:
    """The log-probability of replies to a prompt, under offsets or none.

    Args:
        model: A Hugging Face causal language model.
        tokenizer: Its tokenizer.
        longest: Tokens that are read of prompt and reply together; a longer reply is cut.
    """

    def __init__(self, model: Any, tokenizer: Any, *, longest: int = 2048) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.longest = min(longest, int(getattr(model.config, "max_position_embeddings", longest)))

    def log_probabilities(
        self, messages: Sequence[BaseMessage], replies: Sequence[str], offsets: ActivationOffsets | None = None
    ) -> list[float]:
        """The sum over each reply's tokens, given the messages.

        Args:
            messages: The prompt.
            replies: The replies to compare.
            offsets: Steer the model; None leaves it as it is.
        """
        prompt = self._ids(render(self.tokenizer, messages))
        texts = [self._ids(reply) for reply in replies]
        prompt = prompt[-(self.longest - 1) :] if len(prompt) >= self.longest else prompt
        rows = [(prompt + text)[: self.longest] for text in texts]
        width = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.model.device)
        with torch.inference_mode():
            if offsets is None:
                logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            else:
                with SteeredModel.of(self.model).plan([offsets] * len(rows), prompt_length=len(prompt)):
                    logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        told = torch.log_softmax(logits[:, len(prompt) - 1 : -1].float(), -1)
        said = told.gather(-1, ids[:, len(prompt) :, None])[..., 0] * mask[:, len(prompt) :]
        return [float(value) for value in said.sum(-1)]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def model_arms(
    cases: Sequence[Case],
    model: Any,
    *,
    encoder: Encoder,
    seed: int = 0,
    basis: SteeringBasis | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The accuracy of every arm of a language model.

    Args:
        cases: What to test on.
        model: A hub name, a folder, "demo" for the bundled model, or a ChatTransformers.
        encoder: Reads the cases' histories.
        seed: Of the bootstrap.
        basis: Steers the arm "pas"; None takes the shipped or a cached one, and without any the arm is left out.
        progress: Called with (done, all) cases.

    Returns:
        "arms": "plain" (which reply the model finds likelier without the user: no personalisation), "ica", "pba" and
        "pas"; "gains" of chosen over rejected in each case; "pas" is a sentence where there is no basis.
    """
    chat = _chat(model)
    replies = Replies(chat.model, chat.tokenizer)
    basis = basis or _basis(chat.model)
    names = ("plain", "ica", "pba") if basis is None else ("plain", "ica", "pba", "pas")
    gains: dict[str, list[float]] = {name: [] for name in names}
    with PersonaAligner.open(encoder=encoder) as aligner:
        for number, case in enumerate(cases):
            user = f"case-{number}"
            aligner.record(user, *case.records)
            for name, margin in _margins(aligner, user, case, replies, basis):
                gains[name].append(margin)
            aligner.forget(user)
            if progress is not None:
                progress(number + 1, len(cases))
    prompts = [case.prompt for case in cases]
    arms = {name: accuracy([_right(gain) for gain in values], prompts, seed) for name, values in gains.items()}
    missing = {} if basis else {"pas": "left out: there is no steering basis of this model; fit one with SteeringBasis"}
    return {"arms": arms, "gains": {name: np.round(values, 4).tolist() for name, values in gains.items()}, **missing}


def _margins(
    aligner: PersonaAligner, user: str, case: Case, replies: Replies, basis: SteeringBasis | None
) -> Iterable[tuple[str, float]]:
    """By arm, how much more it raises the chosen reply than the rejected one, over the plain model."""
    asked: list[BaseMessage] = [HumanMessage(case.prompt)]
    both = (case.chosen, case.rejected)
    count = _counter(replies.tokenizer)
    vector = aligner.preferences(user)
    topics = aligner.topics(aligner.encode(case.prompt).content)

    def margin(messages: Sequence[BaseMessage], offsets: ActivationOffsets | None = None) -> float:
        chosen, rejected = replies.log_probabilities(messages, both, offsets)
        return chosen - rejected

    plain = margin(asked)
    yield "plain", plain
    yield "ica", margin(ica(asked, case.records, max_tokens=ROOM, count_tokens=count)) - plain
    conditioned = pba(asked, vector, relevant=topics.__contains__, max_tokens=ROOM, count_tokens=count)
    yield "pba", margin(conditioned) - plain if len(vector.confident()) else 0.0
    if basis is not None:
        offsets = basis.offsets(vector)
        yield "pas", 0.0 if offsets.is_zero else margin(asked, offsets) - plain


def _right(gain: float) -> float:
    return 0.5 if gain == 0 else float(gain > 0)


def _counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _chat(model: Any) -> ChatTransformers:
    if isinstance(model, ChatTransformers):
        return model
    if model == "demo":
        from persona_align import demo

        bundled, tokenizer = demo.load()
        return ChatTransformers(model=bundled, tokenizer=tokenizer)
    return ChatTransformers.from_pretrained(str(model))


def _basis(model: Any) -> SteeringBasis | None:
    from persona_align.demo import shipped_basis
    from persona_align.errors import PersonaAlignError

    try:
        return shipped_basis(model) or SteeringBasis.cached(model)
    except (OSError, PersonaAlignError):
        return None
