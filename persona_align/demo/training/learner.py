"""One model in training: its optimisers, its schedule, its losses, and a state that can be put down and taken up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from persona_align.demo.training.attention import use_plain_attention
from persona_align.demo.training.batches import Batch
from persona_align.demo.training.team import Team

__all__ = ["Learner"]

_READ_AT = 5
"""The layer whose output is asked for the facets of a person: a training aid that is not kept."""


class Learner:
    """A model with what it needs to learn."""

    def __init__(self, model: Any, *, letters: list[int], steps: int, rate: float = 3e-3) -> None:
        import torch
        from torch import nn

        self.model, self.steps, self.rate, self.step = model, steps, rate, 0
        self.device = model.device
        if self.device.type == "cpu":
            use_plain_attention(model)
        self.letters = torch.tensor(letters, device=self.device)
        self.aid = nn.Linear(model.config.hidden_size, 30, device=self.device)
        matrices = [p for n, p in model.model.layers.named_parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        rest = [p for p in (*model.parameters(), *self.aid.parameters()) if id(p) not in chosen]
        self.optimisers: list[Any] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)),
        ]
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()}
        self.chats_seen = self.sheets_seen = 0

    def learn(self, chats: list[Batch], answer_sheets: list[Batch], team: Team | None = None) -> dict[str, float]:
        """One step; returns the losses in nats: chat tokens, letters beyond the ideal reader's, facets.

        With a team each worker gives its own batches, the same number each, and all make the same step.
        """
        import torch

        team = team or Team()
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
            for group in optimiser.param_groups:
                group["lr"] = self.rate * self._pace()
        names = ("chat", "letters", "facets") if answer_sheets else ("chat",)
        sums = {name: torch.zeros((), device=self.device) for name in names}
        for batch in (*chats, *answer_sheets):
            parts, total = self._loss(batch.to(self.device))
            share = 1 / (len(answer_sheets) if len(batch.answers) else len(chats)) / team.workers
            (total * share).backward()
            for name, value in parts.items():
                sums[name] += value * share
        parameters = [*self.model.parameters(), *(self.aid.parameters() if answer_sheets else ())]
        losses = team.summed(parameters, {name: float(value) for name, value in sums.items()})
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self._keep_average()
        self.step += 1
        self.chats_seen += len(chats) * team.workers
        self.sheets_seen += len(answer_sheets) * team.workers
        return losses

    def save(self, path: Path, extra: dict[str, Any]) -> None:
        """Write everything to one file, so that it is there whole or not at all."""
        import torch

        state = {
            "model": self.model.state_dict(),
            "aid": self.aid.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "average": self.average,
            "counts": (self.step, self.chats_seen, self.sheets_seen),
            "extra": extra,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path, accept: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Go on from a file; returns what was saved beside, which `accept` sees first and may refuse by raising."""
        import torch

        state = torch.load(path, weights_only=True, map_location=self.device)
        accept(state["extra"])
        self.model.load_state_dict(state["model"])
        self.aid.load_state_dict(state["aid"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.chats_seen, self.sheets_seen = state["counts"]
        return dict(state["extra"])

    def _loss(self, batch: Batch) -> tuple[dict[str, Any], Any]:
        import torch
        from torch.nn.functional import cross_entropy

        wanted = len(batch.answers) > 0
        with torch.autocast(self.device.type, torch.bfloat16):
            out = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=wanted)
            hidden = out.last_hidden_state.flatten(0, 1)
            logits = hidden[batch.learn] @ self.model.lm_head.weight.T
            asked = hidden[batch.answers] @ self.model.lm_head.weight.T if wanted else None
        plain = cross_entropy(logits.float(), batch.ids.flatten()[batch.learn + 1])
        if asked is None:
            return {"chat": plain.detach()}, plain
        likely = batch.letters.clamp_min(1e-6)
        against = torch.log_softmax(asked.float(), dim=-1)[:, self.letters]
        letters = (likely * (likely.log() - against)).sum(dim=-1).mean()
        read = self.aid(out.hidden_states[_READ_AT].flatten(0, 1)[batch.answers].float())
        facets = (read - batch.facets).square().mean()
        parts = {"letters": letters.detach(), "facets": facets.detach()}
        return parts, 3.0 * letters + 1.0 * facets + 0.1 * plain

    def _pace(self) -> float:
        """Warm up, hold, and come to rest over the last 40 percent."""
        rest = 0.4 * self.steps
        return min((self.step + 1) / 100, 1.0, max(0.0, (self.steps - self.step) / rest))

    def _keep_average(self) -> None:
        import torch

        keep = min(0.99, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            averages = [self.average[name] for name, _ in self.model.named_parameters()]
            torch._foreach_lerp_(averages, list(self.model.parameters()), 1 - keep)
