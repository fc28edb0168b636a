"""Every row of a batch sampled by its own temperature, top_p and seed, whoever its neighbours are."""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from persona_align.models.settings import Settings

__all__ = ["RowSampler"]


class RowSampler(LogitsProcessor):
    """Chooses each sampled row's next token and leaves it the only possible one; greedy rows pass unchanged.

    A row's randomness is one number per token, drawn beforehand by a generator of its own: the same seed gives the
    same reply in any batch and on any device, up to rounding of the probabilities.

    Args:
        settings: One entry for every row.
    """

    def __init__(self, settings: Sequence[Settings]) -> None:
        rows = [row for row, wish in enumerate(settings) if wish.temperature > 0]
        self._rows = torch.tensor(rows)
        self._temperature = torch.tensor([settings[row].temperature for row in rows])[:, None]
        self._top_p = torch.tensor([settings[row].top_p for row in rows])[:, None]
        self._draws = torch.zeros(len(rows), max((settings[row].max_tokens for row in rows), default=0))
        for line, row in zip(self._draws, rows, strict=True):
            wish = settings[row]
            generator = torch.Generator()
            generator.manual_seed(0 if wish.seed is None else wish.seed)
            line[: wish.max_tokens] = torch.rand(wish.max_tokens, generator=generator)
        self._step = 0

    def __call__(
        self,
        input_ids: torch.LongTensor,  # noqa: ARG002
        scores: torch.FloatTensor,
    ) -> torch.FloatTensor:
        """The scores, with one finite entry in every sampled row."""
        if self._step >= self._draws.shape[1]:  # all sampled rows have ended
            return scores
        if self._step == 0:
            self._to(scores.device)
        draws = self._draws[:, self._step, None]
        self._step += 1
        chosen = _choose(scores[self._rows] / self._temperature, self._top_p, draws)
        only = torch.full((len(self._rows), scores.shape[1]), -torch.inf, dtype=scores.dtype, device=scores.device)
        return scores.index_copy(0, self._rows, only.scatter(1, chosen, 0.0))  # type: ignore[return-value]

    def _to(self, device: torch.device) -> None:
        for name in ("_rows", "_temperature", "_top_p", "_draws"):
            setattr(self, name, getattr(self, name).to(device))


def _choose(scores: torch.Tensor, top_p: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """[rows, 1]: where each row's draw falls in the cumulated probabilities of its likeliest tokens."""
    probabilities = scores.softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(dim=-1) - ordered >= top_p
    kept = probabilities.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), 0.0)
    # Cumulated in the order of the vocabulary: tokens of nearly equal probability must not change places by rounding.
    cumulated = kept.cumsum(dim=-1)
    total = cumulated[:, -1:]
    target = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, target, right=True)
