"""ActivationSearch: from a person's answers to statements, to the offsets that make a model answer like them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from persona_align.steering.asking import Asked, questions
from persona_align.steering.contexts import context_shifts
from persona_align.steering.group import Group
from persona_align.steering.lessons import in_evaluation
from persona_align.steering.linear import ResponseRidge
from persona_align.steering.offsets import ActivationOffsets, Positions
from persona_align.steering.optimize import answer_losses, optimise
from persona_align.steering.probes import HeadProbes, MassMean, sides
from persona_align.steering.progress import Progress, watched
from persona_align.steering.prompting import layout_of
from persona_align.steering.statements import Captured, capture_statements
from persona_align.steering.steered import SteeredModel

__all__ = ["ActivationSearch", "Method", "Stability"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Method = Literal["search", "linear", "optimize"]
_MAX_STRENGTH = 8.0
_FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_PEOPLE_AT_ONCE = 256


@dataclass(frozen=True)
class Stability:
    """How much the choice of heads depends on which statements happened to be asked.

    Attributes:
        jaccard: Mean overlap of the top K of two halves of the answers, 0 to 1.
        chosen: How often each head was among the top K, [layers, heads], 0 to 1.
    """

    jaccard: float
    chosen: Floats


class ActivationSearch:
    """Finds offsets for people from their answers to a fixed set of statements.

    Everything that does not depend on the person is done once, here: the statements are asked in both orders of the
    answer letters, and the model's activations, expected answers and their gradients are recorded. A person is then a
    few matrix products.

    How well a person is met depends on how much they answered: a dozen statements say little beyond themselves, and
    only the model's answers to *those* move reliably. Questionnaires that carry over to new statements have around 100;
    `stability` says how far a result hangs on which ones were asked. For users who answer no questionnaire, take a
    `SteeringBasis` and their inferred vector instead.

    Args:
        hf_model: A causal language model of transformers with attention output projections.
        tokenizer: Its tokenizer. Without a chat template, plain "User: …" and "Assistant: …" lines are used; `layout`
            says which.
        statements: First-person statements, all different.
        positions: Where the offsets will act: "last_prompt_onward", so that what is read before the answer is the same
            for everybody, or "all", as in the paper.
        cache: A folder for what is captured; an interrupted capture resumes.
        keep: How many heads the method "search" keeps, K.
        batch: Statements asked at a time.
        progress: Called with a label, the number done and the total. Without one, a line is kept up to date on a
            terminal and in a notebook; `persona_align.steering.silent` shows nothing.

    Raises:
        UnsupportedModelError: The model cannot be steered, or does not tell the answer letters apart.
        ValueError: No statements, an empty one, or the same one twice.

    Example:
        >>> search = ActivationSearch(model, tokenizer, ["Like order.", "Love parties."])  # doctest: +SKIP
        >>> offsets = search.fit([5, 2])  # doctest: +SKIP

    Source:
        arXiv 2408.11779; the methods "linear" and "optimize" are this library's own.
    """

    def __init__(
        self,
        hf_model: Any,
        tokenizer: Any,
        statements: Sequence[str],
        *,
        positions: Positions = "last_prompt_onward",
        cache: str | Path | None = None,
        keep: int = 24,
        batch: int = 16,
        progress: Progress | None = None,
    ) -> None:
        progress = watched(progress)
        self.statements = _checked_statements(statements)
        self.layout = layout_of(tokenizer)
        self.steered = SteeredModel.of(hf_model)
        self.positions: Positions = positions
        plain, reverse = (questions(tokenizer, self.statements, reverse=reverse) for reverse in (False, True))
        self._asked = Asked(self.steered, plain, positions), Asked(self.steered, reverse, positions)
        captured = capture_statements(
            self.steered,
            tokenizer,
            self.statements,
            positions=positions,
            cache=cache,
            batch=batch,
            progress=progress,
        )
        shifts = context_shifts(self.steered, tokenizer, self.statements, cache=cache, progress=progress)
        self._prepare(captured, keep, shifts)

    @classmethod
    def of_captured(
        cls, captured: Captured, steered: Any, *, keep: int = 24, shifts: Singles | None = None
    ) -> "ActivationSearch":
        """A search over what was captured elsewhere, on the model of `steered`; it cannot "optimize" or `tune`."""
        made = cls.__new__(cls)
        made.statements = tuple(map(str, range(len(captured.expected))))
        made.layout, made.steered, made.positions = "none", steered, "last_prompt_onward"
        made._asked = Asked(steered, []), Asked(steered, [])
        made._prepare(captured, keep, shifts)
        return made

    def _prepare(self, captured: Captured, keep: int, shifts: Singles | None) -> None:
        self.expected = captured.expected
        self.keep = min(keep, len(captured.agree))
        self._gradient = captured.gradient
        rows = np.ascontiguousarray(captured.gradient.swapaxes(0, 1)).reshape(len(self.expected), -1)
        self._probes = HeadProbes(captured.agree, captured.disagree)
        self._ridge = ResponseRidge(rows, shifts)
        # What moving each head along one statement's own difference does to that statement's answer, [heads, items].
        self._own = np.einsum("hid,hid->hi", captured.gradient, self._probes.difference, dtype=np.float64)

    def fit(
        self, answers: ArrayLike, *, method: Method = "linear", seed: int = 0, group: ArrayLike | None = None
    ) -> ActivationOffsets:
        """The offsets of one person.

        Args:
            answers: Agreement with each statement, 1 to 5; None and NaN are unknown.
            method: "search" keeps the K best heads and moves them along the mass-mean, as the paper does; "linear"
                solves for the answers through the model's gradients; "optimize" goes on from there with a few real
                optimisation steps.
            seed: Of what a method draws; the present ones draw nothing.
            group: Other people's answers to the same statements, [people, statements], from which this person borrows
                where they gave none; worth the most below about 40 answers.

        Returns:
            The offsets, at a strength that follows in closed form from the linearised response. Zero, with a reason,
            where there is nothing to fit.

        Raises:
            ValueError: A wrong number of answers, or a value outside 1 to 5.
        """
        return self.fit_many(_one_person(answers), method=method, seed=seed, group=group)[0]

    def fit_many(
        self, matrix: ArrayLike, *, method: Method = "linear", seed: int = 0, group: ArrayLike | None = None
    ) -> list[ActivationOffsets]:
        """The offsets of many people, [people, statements]; see `fit`."""
        if method not in get_args(Method):
            msg = f"method must be one of {', '.join(get_args(Method))}, not {method!r}"
            raise ValueError(msg)
        answers = self._checked(matrix)
        reasons = [_unusable(row, method) for row in answers]
        if group is not None:
            usable = [reason is None for reason in reasons]
            answers[usable] = Group(self._checked(group)).complete(answers[usable])
        found: list[ActivationOffsets] = []
        for start in range(0, len(answers), _PEOPLE_AT_ONCE):
            part, why = answers[start : start + _PEOPLE_AT_ONCE], reasons[start : start + _PEOPLE_AT_ONCE]
            values = self._values(part, method, seed)
            found += [self._offsets(row, reason) for row, reason in zip(values, why, strict=True)]
        return found

    def scores(self, answers: ArrayLike) -> Floats:
        """How well each head tells what a person agrees with: the leave-one-item-out share, [layers, heads]."""
        shape = self.steered.geometry.shape[:2]
        found: Floats = self._probes.scores(sides(self._checked(_one_person(answers))))[0].reshape(shape)
        return found

    def chosen_heads(self, answers: ArrayLike) -> list[tuple[int, int, float]]:
        """The K heads that "search" moves: layer, head and score, best first."""
        scores = self.scores(answers)
        order = np.argsort(-scores.ravel(), kind="stable")[: self.keep]
        return [(int(h) // scores.shape[1], int(h) % scores.shape[1], float(scores.ravel()[h])) for h in order]

    def stability(self, answers: ArrayLike, *, draws: int = 50, seed: int = 0) -> Stability:
        """How far the chosen heads hang on which statements were answered: random halves of the answers, compared."""
        signs = sides(self._checked(_one_person(answers)))[0]
        used = np.flatnonzero(signs)
        shape = self.steered.geometry.shape[:2]
        if len(used) < 4:
            return Stability(0.0, np.zeros(shape))
        rng = np.random.default_rng(seed)
        halves = np.zeros((2 * draws, len(signs)))
        for draw in range(draws):
            order = rng.permutation(used)
            for side, half in enumerate((order[: len(order) // 2], order[len(order) // 2 :])):
                halves[2 * draw + side, half] = signs[half]
        top = np.argsort(-self._probes.scores(halves), axis=1, kind="stable")[:, : self.keep]
        chosen = np.zeros((len(top), shape[0] * shape[1]), dtype=bool)
        np.put_along_axis(chosen, top, True, axis=1)
        both = (chosen[::2] & chosen[1::2]).sum(axis=1)
        either = (chosen[::2] | chosen[1::2]).sum(axis=1)
        return Stability(float((both / either).mean()), chosen.mean(axis=0).reshape(shape))

    def tune(
        self,
        offsets: ActivationOffsets,
        answers: ArrayLike,
        *,
        method: Method = "linear",
        folds: int = 3,
        factors: Sequence[float] = _FACTORS,
        seed: int = 0,
    ) -> ActivationOffsets:
        """The same offsets at a strength chosen on answers that they were not fitted to.

        For each fold the person is fitted to the other answers, and the model is asked the fold's statements at every
        strength. The strength that gives the person's own answers the most probability is taken.

        Args:
            offsets: What `fit` gave for these answers.
            answers: The person's answers; no others are ever looked at.
            method: The method that gave the offsets.
            folds: Into how many parts the answers are split.
            factors: The strengths to try, in multiples of the given one.
            seed: Of the split.
        """
        row = self._checked(_one_person(answers))[0]
        known = np.flatnonzero(~np.isnan(row))
        if offsets.is_zero or len(known) < 2 * folds:
            return offsets
        order = np.random.default_rng(seed).permutation(known)
        losses = np.zeros(len(factors))
        for fold in range(folds):
            held = np.sort(order[fold::folds])
            rest = row.copy()
            rest[held] = np.nan
            values = torch.from_numpy(self._values(rest[None], method, seed)).to(self.steered.device)
            tried = values * torch.tensor(factors, device=values.device).view(-1, 1, 1, 1)
            with torch.no_grad(), in_evaluation(self.steered):
                losses += answer_losses(self._asked, tried, held, row).cpu().numpy()
        return offsets * float(factors[int(np.argmin(losses))])

    def _values(self, answers: Floats, method: Method, seed: int) -> Singles:
        """Raw offsets, [people, layers, heads, head_dim]; zero where nothing is usable."""
        usable = np.array([_unusable(row, method) is None for row in answers])
        if not usable.all():
            values = np.zeros((len(answers), *self.steered.geometry.shape), np.float32)
            if usable.any():
                values[usable] = self._values(answers[usable], method, seed)
            return values
        if method == "search":
            found = self._search(answers)
        elif method == "linear":
            weights, _ = self._ridge.solve(answers - self.expected)
            found = weights.astype(np.float32) @ self._ridge.spread
        else:
            found = optimise(self._asked, self._ridge, answers, self.expected)
        return found.reshape(-1, *self.steered.geometry.shape)

    def _search(self, answers: Floats) -> Singles:
        """The paper's displacement of the K best heads, its strength from the linearised response, [people, size]."""
        signs = sides(answers)
        scores = self._probes.scores(signs)
        heads, _, head_dim = self._gradient.shape
        found = np.zeros((len(answers), heads, head_dim), np.float32)
        for person, (row, side) in enumerate(zip(answers, signs, strict=True)):
            kept = self._probes.mass_mean(side, scores[person], self.keep)
            strength = self._strength(row, side, kept)
            found[person, kept.heads] = (strength * kept.sigma)[:, None] * kept.directions
        return found.reshape(len(answers), -1)

    def _strength(self, answers: Floats, side: Floats, kept: MassMean) -> float:
        """The least-squares strength of a displacement, each statement's own part in it taken out beforehand.

        A direction made of all statements moves each of them in part because it contains that statement itself; with
        that share left in, any direction looks useful.
        """
        moved = np.stack([self._gradient[head] @ d for head, d in zip(kept.heads, kept.directions, strict=True)])
        itself = side * self._own[kept.heads] / np.maximum(np.abs(side).sum() * kept.length, 1e-12)[:, None]
        response = kept.sigma @ (moved - itself)
        known = ~np.isnan(answers)
        wanted = answers[known] - self.expected[known]
        size = float(response[known] @ response[known])
        return float(np.clip(response[known] @ wanted / max(size, 1e-12), 0.0, _MAX_STRENGTH))

    def _offsets(self, values: Singles, reason: str | None) -> ActivationOffsets:
        if reason is None and not values.any():
            reason = "the answers give no direction that moves the model towards them"
        return ActivationOffsets(values, fingerprint=self.steered.fingerprint, positions=self.positions, reason=reason)

    def _checked(self, matrix: ArrayLike) -> Floats:
        answers = np.array(matrix, dtype=np.float64)  # None becomes NaN
        if answers.ndim != 2 or answers.shape[1] != len(self.statements):
            msg = f"there are {len(self.statements)} statements, but the answers have shape {list(answers.shape)}"
            raise ValueError(msg)
        wrong = ~np.isnan(answers) & ~((answers >= 1) & (answers <= 5))
        if wrong.any():
            person, item = np.argwhere(wrong)[0]
            msg = f"answers are 1 to 5, None or NaN; person {person}, statement {item}: {answers[person, item]:g}"
            raise ValueError(msg)
        return answers


def _checked_statements(statements: Sequence[str]) -> tuple[str, ...]:
    if isinstance(statements, str):
        msg = "statements must be a list of sentences, not one string"
        raise TypeError(msg)
    texts = tuple(statements)
    if not texts or any(not text.strip() for text in texts):
        msg = "statements must be at least one sentence, and none of them empty"
        raise ValueError(msg)
    seen: set[str] = set()
    for text in (" ".join(text.split()).casefold() for text in texts):
        if text in seen:
            msg = f"a statement occurs twice: {text!r}; leave one out, and its answers with it"
            raise ValueError(msg)
        seen.add(text)
    return texts


def _one_person(answers: ArrayLike) -> Floats:
    row = np.array(answers, dtype=np.float64)
    if row.ndim != 1:
        msg = f"one person's answers are a list, not of shape {list(row.shape)}; fit_many takes several people"
        raise ValueError(msg)
    return row[None]


def _unusable(answers: Floats, method: Method) -> str | None:
    """Why a person cannot be fitted, or None."""
    taken = int(np.abs(sides(answers)).sum())
    if np.isnan(answers).all():
        return "no statement was answered"
    if taken == 0:
        return "every answer is neutral"
    if method == "search" and taken < 2:
        return "one answer that takes a side is too few to rank heads by"
    return None
