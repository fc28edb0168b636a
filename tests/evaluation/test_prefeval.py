"""PrefEval: histories are laid out as the benchmark says, and the preference comes back."""

import pytest

from persona_align.evaluation import prefeval
from tests.evaluation.evaluation_cases import DISTRACTORS, write_prefeval


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return prefeval.run(write_prefeval(tmp_path_factory.mktemp("data")).parent)


def test_the_preference_comes_back_in_every_setting(result):
    assert list(result) == ["stated", "revealed", "ten topics"]
    for part in result.values():
        assert part["arms"]["retrieval"]["accuracy"] == 1.0
        assert [each["rank"] for each in part["cases"]] == [1, 1]


def test_histories_hold_user_messages_alone(result):
    sizes = {setting: part["messages"] for setting, part in result.items()}
    above = {setting: size - len(DISTRACTORS) for setting, size in sizes.items()}
    assert above == {"stated": 1, "revealed": 2, "ten topics": 4}


def test_trivial_baselines_stand_beside(result):
    for part in result.values():
        assert set(part["baselines"]) == {"cosine of whole messages", "random"}


def test_the_figure_is_written(result, tmp_path):
    prefeval.figure(result, tmp_path / "prefeval.svg")
    assert (tmp_path / "prefeval.svg").stat().st_size > 1000


@pytest.mark.data
@pytest.mark.slow
def test_preferences_are_found_among_real_chat(benchmark_data):
    result = prefeval.run(benchmark_data, limit=2)
    found = {setting: part["arms"]["retrieval"]["accuracy"] for setting, part in result.items()}
    plain = {setting: part["baselines"]["cosine of whole messages"]["accuracy"] for setting, part in result.items()}
    assert found["stated"] >= 0.9
    assert found["revealed"] >= 0.85
    assert all(found[setting] > plain[setting] for setting in found)
