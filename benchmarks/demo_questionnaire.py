"""Errors of the bundled model's questionnaire answers on people its training never saw, beside trivial baselines."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.demo.corpus.people import Population, calibration_people, evaluated_people
from persona_align.demo.corpus.sheets import persona
from persona_align.demo.corpus.statements import TRAITS, Statement, read_answers, read_statements
from persona_align.steering.questionnaire import questionnaire

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_TOGETHER = 60
"""Statements that are asked in one forward pass behind the same opening."""


def questionnaire_errors(model: Any, tokenizer: Any, *, seed: int = 0) -> dict[str, Any]:
    """Composite mean absolute error (the sum over five traits, lower is better) of several arms."""
    data = Path(os.environ.get("PERSONA_ALIGN_DATA", Path(__file__).parent.parent.parent / "shared" / "data")) / "papi"
    statements = read_statements(data / "items.csv")
    scored = np.array(read_answers(data / "subjects.csv", statements))
    calibration, people = scored[calibration_people(len(scored))], scored[evaluated_people(len(scored))]
    train = np.array([s.split == "train" for s in statements])
    score = Scorer(people, statements, ~train)
    population = Population.calibrated(statements, calibration.tolist())
    results = trivial(people, calibration, statements, train, score)
    reader = Reader(model, tokenizer, statements, ~train)
    base = reader.answers("", [])
    results["base model"] = score(population.agreement(np.broadcast_to(base, people.shape)))
    print(results, flush=True)
    results["told the five trait levels"] = score(_told(reader, population, people, statements, train))
    rng = np.random.default_rng(seed)
    for shown in (30,):
        for one_a_facet in (False, True):
            name = f"shown {shown} answers{', spread over the facets' if one_a_facet else ' drawn at random'}"
            chosen = [_choose(person, statements, train, shown, rng, one_a_facet) for person in people]
            agreed = population.agreement(people)
            predicted = [
                reader.answers("", [(statements[i].text, int(agreed[p, i])) for i in rows])
                for p, rows in enumerate(chosen)
            ]
            results[name] = score(population.agreement(np.array(predicted)))
            results[f"ideal reader, {name}"] = score(_ideal(population, people, chosen))
            print(name, results[name], flush=True)
    return {"people": len(people), "statements": int((~train).sum()), "composite_error": results}


class Scorer:
    """Composite error of trait-scored predictions, [people, statements], on the held-out statements."""

    def __init__(self, people: Ints, statements: list[Statement], held_out: NDArray[np.bool_]) -> None:
        self.people, self.held_out = people, held_out
        self.trait = np.array([TRAITS.index(s.facet[0]) for s in statements])

    def __call__(self, predicted: Any) -> float:
        errors = np.abs(np.asarray(predicted, dtype=float) - self.people)
        known = self.people > 0
        columns = [self.held_out & (self.trait == j) for j in range(5)]
        return round(float(sum(errors[:, c][known[:, c]].mean() for c in columns)), 3)


class Reader:
    """Asks the model all held-out statements behind one opening, both letter orders, and takes the median answer."""

    def __init__(self, model: Any, tokenizer: Any, statements: list[Statement], asked: NDArray[np.bool_]) -> None:
        self.model, self.tokenizer, self.statements = model, tokenizer, statements
        self.asked = np.where(asked)[0]
        self._kept: tuple[tuple[str, ...], list[int]] | None = None
        self.letters = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "ABCDE"]

    def answers(self, block: str, shown: list[tuple[str, int]]) -> Ints:
        """Agreement, 1..5, with every statement; 3 for those not asked."""
        likely = np.zeros((len(self.asked), 5))
        for reverse in (False, True):
            found = self._probabilities(block, shown, reverse)
            likely += found if reverse else found[:, ::-1]
        answers = np.full(len(self.statements), 3)
        answers[self.asked] = (np.cumsum(likely / likely.sum(axis=1, keepdims=True), axis=1) < 0.5).sum(axis=1) + 1
        return answers

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids, of which those before the last message are kept from one statement to the next."""
        before, last = messages[:-1], messages[-1:]
        key = tuple(message["content"] for message in before)
        if self._kept is None or self._kept[0] != key:
            ids = self.tokenizer.apply_chat_template(before, return_dict=False) if before else []
            self._kept = (key, ids)
        ids = self.tokenizer.apply_chat_template(last, add_generation_prompt=True, return_dict=False)
        return [*self._kept[1], *(ids[1:] if before else ids)]

    def _probabilities(self, block: str, shown: list[tuple[str, int]], reverse: bool) -> Floats:
        import torch

        prompts = [
            self._ids(questionnaire(self.statements[i].text, shown, reverse=reverse, persona=block)) for i in self.asked
        ]
        shared = next(i for i, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1)
        with torch.no_grad():
            out = self.model(torch.tensor([prompts[0][:shared]]), use_cache=True)
            parts = [
                self._behind(out.past_key_values, [ids[shared:] for ids in prompts[start : start + _TOGETHER]], shared)
                for start in range(0, len(prompts), _TOGETHER)
            ]
        return np.concatenate(parts)

    def _behind(self, cache: Any, rests: list[list[int]], shared: int) -> Floats:
        """Letter probabilities behind several continuations of one opening, which do not see each other."""
        import torch

        ids = torch.tensor([[token for rest in rests for token in rest]])
        block = torch.tensor([n for n, rest in enumerate(rests) for _ in rest])
        position = torch.tensor([k for rest in rests for k in range(len(rest))])
        sees = (block[:, None] == block[None, :]) & (position[:, None] >= position[None, :])
        mask = torch.cat([torch.ones(len(block), shared, dtype=torch.bool), sees], dim=1)
        hidden = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))[None, None]
        logits = self.model(
            ids, attention_mask=hidden, position_ids=position[None] + shared, past_key_values=cache, use_cache=True
        ).logits[0]
        cache.crop(-ids.shape[1])
        last = np.cumsum([len(rest) for rest in rests]) - 1
        return np.asarray(torch.softmax(logits[last][:, self.letters], dim=-1).double().numpy())


def trivial(
    people: Ints, calibration: Ints, statements: list[Statement], train: NDArray[np.bool_], score: Scorer
) -> dict[str, float]:
    """What needs no model at all; `people` and `calibration` are trait-scored, 0 where missing."""
    from sklearn.linear_model import Ridge

    known = np.where(people > 0, people, np.nan).astype(float)
    others = np.where(calibration > 0, calibration, np.nan).astype(float)
    median = np.nanmedian(others, axis=0)

    def own_mean(group: NDArray[Any]) -> Floats:
        predicted = np.empty(people.shape)
        for value in np.unique(group):
            own = group == value
            predicted[:, own] = np.rint(np.nanmean(known[:, own & train], axis=1))[:, None]
        return predicted

    filled, seen = np.where(np.isnan(others), median, others), np.where(np.isnan(known), median, known)
    ridge = Ridge(alpha=300.0).fit(filled[:, train], filled)
    return {
        "always C": score(np.full(people.shape, 3)),
        "item median of the calibration people": score(np.broadcast_to(np.rint(median), people.shape)),
        "own trait mean of the 120 answers": score(own_mean(np.array([s.facet[0] for s in statements]))),
        "own facet mean of the 120 answers": score(own_mean(np.array([s.facet for s in statements]))),
        "ridge from the 120 answers": score(np.clip(np.rint(ridge.predict(seen[:, train])), 1, 5)),
    }


def _told(
    reader: Reader, population: Population, people: Ints, statements: list[Statement], train: NDArray[np.bool_]
) -> Any:
    """Each person's trait levels come from their answers to the 120 statements that are not evaluated."""
    rows = np.where(train)[0]
    part = Population(
        population.covariance, population.loadings[rows], population.means[rows], population.noise[rows],
        population.signs[rows],
    )  # fmt: skip
    known = np.where(people > 0, people, np.nan).astype(float)
    levels = part.levels_of(known[:, rows], [statements[i] for i in rows])
    return population.agreement(np.array([reader.answers(persona(level), []) for level in levels.tolist()]))


def _choose(
    person: Ints, statements: list[Statement], train: NDArray[np.bool_], count: int, rng: Any, one_a_facet: bool
) -> list[int]:
    order = rng.permutation(np.where(train & (person > 0))[0]).tolist()
    if one_a_facet:
        seen: dict[str, int] = {}
        rank = {}
        for i in order:
            rank[i] = seen[statements[i].facet] = seen.get(statements[i].facet, 0) + 1
        order.sort(key=lambda i: rank[i])
    return order[:count]


def _ideal(population: Population, people: Ints, chosen: list[list[int]]) -> Any:
    """The exact reader of the simulated population, as the ceiling of what the shown answers can say."""
    beliefs, everyone = population.beliefs(len(people)), np.arange(len(people))
    agreed, order = population.agreement(people), np.array(chosen)
    for position in range(order.shape[1]):
        beliefs.answer(order[:, position], agreed[everyone, order[:, position]])
    predicted = np.empty(people.shape, dtype=np.int64)
    for i in range(people.shape[1]):
        likely = beliefs.probabilities(np.full(len(people), i))
        predicted[:, i] = (np.cumsum(likely, axis=1) < 0.5).sum(axis=1) + 1
    return population.agreement(predicted)
