"""The arms on a random model and made-up people: what each may look at, and what it reports."""

import copy
import json

import numpy as np
import pytest
import torch

from persona_align.evaluation import papi
from persona_align.evaluation.papi_answers import Sheet, median_answer, read_letter
from persona_align.evaluation.papi_arms import Study, trait_vectors
from persona_align.evaluation.papi_data import Items, People
from persona_align.evaluation.papi_scoring import held_out
from persona_align.steering.steered import SteeredModel
from tests.steering.tiny_chat import tiny_chat


def people(count, items, seed):
    rng = np.random.default_rng(seed)
    trait = rng.normal(size=(count, 5))
    raw = 3 + items.signs * trait[:, items.traits] + 0.5 * rng.normal(size=(count, len(items)))
    agreement = np.clip(np.round(raw), 1, 5)
    agreement[0, 0] = np.nan
    return People(tuple(map(str, range(count))), np.ones(count, int), np.full(count, 30.0), agreement)


@pytest.fixture(scope="module")
def study():
    texts = tuple(
        f"I {verb} {what}." for verb in ("like", "avoid", "seek", "miss") for what in ("a", "b", "c", "d", "e")
    )
    facets = tuple(f"{trait}1" for _ in range(4) for trait in "OCEAN")
    signs = np.repeat([1, -1, 1, -1], 5)
    items = Items(tuple(range(1, 21)), texts, signs, facets, np.arange(20) < 15)
    model, tokenizer = tiny_chat()
    sheet = Sheet(SteeredModel.of(model), tokenizer, held_out(items).texts)
    return Study(people(5, items, 0), people(30, items, 1), items, sheet)


@pytest.mark.parametrize("arm", ["told", "few-shot 3", "pas search", "pas linear", "pas optimize"])
def test_no_arm_looks_at_a_test_answer(study, arm):
    before = papi._arm(study, arm, 2, None)[arm].predicted
    agreement = study.people.agreement.copy()
    agreement[:, ~study.items.train] = 6 - agreement[:, ~study.items.train]
    turned = People(study.people.cases, study.people.sexes, study.people.ages, agreement)
    other = Study(turned, study.others, study.items, study.sheet)
    np.testing.assert_array_equal(papi._arm(other, arm, 2, None)[arm].predicted, before)
    assert set(np.unique(before)) <= {1, 2, 3, 4, 5}


@pytest.fixture(scope="module")
def arms(study):
    return {"base": study.base(), **papi._arm(study, "reference", 2, None)}


def test_reference_says_what_it_looked_at(arms):
    assert {name: bool(arm.seen) for name, arm in arms.items()} == {
        "base": False,
        "reference, strength on training answers": False,
        "reference, strength on test answers": True,
    }
    assert arms["reference, strength on test answers"].people == (0, 1)


def test_the_score_compares_the_same_people(study, arms):
    result = papi.score(study, arms)
    peeking = result["arms"]["reference, strength on test answers"]
    assert result["arms"]["base"]["gain_over_base"] == [0.0, 0.0, 0.0]
    assert (peeking["people"], result["arms"]["base"]["people"]) == (2, 5)
    assert peeking["gain_over_base"][0] >= 0  # strength 0 is among those it chooses from
    assert {"always C", "own trait mean", "ridge from the training answers"} <= set(result["baselines"])


def test_raw_answers_and_a_figure_are_written(study, arms, tmp_path):
    papi._write(tmp_path, study, arms, papi.score(study, arms))
    rows = json.loads((tmp_path / "papi_people.json").read_text())
    assert [len(row["arms"]) for row in rows] == [3, 3, 1, 1, 1]
    assert rows[0]["items"] == [16, 17, 18, 19, 20]
    assert (tmp_path / "papi.svg").read_text().startswith("<?xml")


def test_null_people_are_nobody(study):
    mixed = papi._mixed(study)
    assert not np.array_equal(mixed, study.training, equal_nan=True)
    np.testing.assert_array_equal(np.sort(mixed, axis=0), np.sort(study.training, axis=0))


def test_traits_become_preferences_against_the_others(study):
    vectors = trait_vectors(study)
    assert all(abs(reading.value) >= 0.18 for vector in vectors for reading in vector.confident())
    assert len({vector.describe() for vector in vectors}) > 1


def test_reading_and_median():
    assert read_letter("E") == 1.0
    assert read_letter("Option (C) fits") == 3.0
    assert np.isnan(read_letter("I'd say so"))
    assert np.isnan(read_letter(""))
    np.testing.assert_array_equal(median_answer(np.eye(5)), [1, 2, 3, 4, 5])
    assert median_answer(np.array([0.5, 0.0, 0.0, 0.0, 0.5])) in (1, 5)


def test_unreadable_generations_are_missing(study):
    sheet = Sheet(study.sheet.steered, study.sheet.tokenizer, study.sheet.statements[:2], "generation")
    answers = sheet.answers()
    assert answers.shape == (1, 2)
    assert all(np.isnan(value) or 1 <= value <= 5 for value in answers[0])


def test_an_unknown_arm_is_refused(tmp_path):
    with pytest.raises(papi.PersonaAlignError, match="told"):
        papi.run(tmp_path, arms=["magic"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # trl and peft warn about their own future
def test_dpo_prefers_the_persons_letters_and_leaves_the_callers_model_alone(study):
    pytest.importorskip("trl")
    from persona_align.evaluation.papi_dpo import _pairs, _train

    model, tokenizer = study.sheet.steered.model, study.sheet.tokenizer
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pairs = _pairs(study, 1)
    trained, seconds = _train(copy.deepcopy(model), tokenizer, pairs, epochs=4, rate=1e-2, rank=4, beta=0.1, seed=0)

    def margin(one):
        total = 0.0
        for pair in pairs:
            logits = one(torch.tensor([tokenizer(pair["prompt"], add_special_tokens=False)["input_ids"]])).logits[0, -1]
            total += logits[tokenizer.convert_tokens_to_ids(pair["chosen"])]
            total -= logits[tokenizer.convert_tokens_to_ids(pair["rejected"])]
        return float(total) / len(pairs)

    with torch.no_grad():
        assert margin(trained) > margin(model) + 0.5
    assert seconds > 0
    assert all(before[name].equal(value) for name, value in model.state_dict().items())
