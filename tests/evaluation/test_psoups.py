"""P-Soups: the arms mean what they say, on a file of our own and on the public one."""

import json

import pytest

from persona_align.errors import InvalidRecordError
from persona_align.evaluation import psoups
from persona_align.evaluation.cases import read_cases
from persona_align.evaluation.tasting import accuracy
from persona_align.records import Comparison, Description, Turn
from tests.evaluation.evaluation_cases import case, write_psoups


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_psoups(folder)
    return psoups.run(folder)["child_scholar"]


def test_own_comparisons_rank_right_and_the_opposite_persona_s_wrong(result):
    assert result["arms"]["own"]["accuracy"] == 1.0
    assert result["arms"]["opposite persona"]["accuracy"] == 0.0
    assert 0.0 < result["arms"]["another user"]["accuracy"] < 1.0


def test_every_arm_has_an_interval_and_every_case_a_score(result):
    for value in (*result["arms"].values(), *result["baselines"].values(), *result["learning"].values()):
        low, high = value["interval"]
        assert low <= value["accuracy"] <= high
        assert value["cases"] == 8
    assert list(result["learning"]) == ["1", "2", "3"]
    assert len(result["cases"]) == 8
    assert {"random", "the longer answer", "final-layer cosine"} <= set(result["baselines"])


def test_the_longer_answer_knows_nobody(result):
    assert result["baselines"]["the longer answer"]["accuracy"] == 0.5  # it is the scholar's, and half are children


def test_the_same_seed_gives_the_same_result(tmp_path):
    path = write_psoups(tmp_path)
    first, again = (json.dumps(psoups.run(path, seed=3)) for _ in range(2))
    assert first == again


def test_the_figure_is_written(result, tmp_path):
    psoups.figure({"child_scholar": result}, tmp_path / "arms.svg")
    assert (tmp_path / "arms.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_all_of_alignx_s_history_is_read(tmp_path):
    data = {
        **case(0, child=True),
        "User-Generated Content": [{"prompt": "A post", "comment": "I adore maps."}],
        "Demographic Information": "A teacher from Kent.",
    }
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(data) + "\n" + json.dumps(data) + "\n", encoding="utf-8")
    first, _ = read_cases(path)
    assert [type(record) for record in first.records] == [Description, Turn, *[Comparison] * 3]
    assert first.comparisons == first.records[2:]


@pytest.mark.parametrize("text", ["{", '[{"prompt": "no replies"}]', "[1]"])
def test_another_format_is_refused_by_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRecordError, match=r"other\.json"):
        read_cases(path)


def test_an_interval_resamples_prompts_and_not_cases():
    alone = accuracy([1.0, 0.0] * 20, [str(i) for i in range(40)], seed=0)
    shared = accuracy([1.0, 0.0] * 20, ["a", "b"] * 20, seed=0)
    assert alone["accuracy"] == shared["accuracy"] == 0.5
    assert shared["interval"] == [0.0, 1.0]
    assert alone["interval"][0] > 0.2


@pytest.mark.data
@pytest.mark.slow
def test_personalisation_shows_on_the_public_cases(benchmark_data):
    result = psoups.run(benchmark_data / "psoups" / "student_phd_half.json", limit=60)["student_phd_half"]
    arms = {name: value["accuracy"] for name, value in result["arms"].items()}
    assert arms["own"] >= 0.9
    assert arms["opposite persona"] <= 0.15
    assert arms["own"] - arms["no user"] >= 0.2
