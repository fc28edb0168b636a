"""AlignX's measure: a ranker's accuracy, and a language model's log-probability gains."""

import json
import math

import pytest
import torch
from langchain_core.messages import HumanMessage

from persona_align import demo
from persona_align.encoder import open_encoder
from persona_align.errors import InvalidRecordError
from persona_align.evaluation import alignx
from persona_align.evaluation.cases import read_cases
from persona_align.evaluation.language_model import Replies, model_arms
from persona_align.models.prompts import render
from tests.evaluation.evaluation_cases import case, write_psoups


@pytest.fixture(scope="module")
def replies():
    return Replies(*demo.load())


def test_one_file_gives_arms_histories_and_what_was_published(tmp_path):
    result = alignx.run(write_psoups(tmp_path))
    assert result["arms"]["own"]["accuracy"] == 1.0
    assert result["histories"] == {"comparison": 8, "turn": 0, "description": 0}
    assert result["published"]["AlignXpert-PBA"]["P-Soups"] == 81.69
    alignx.figure(result, tmp_path / "alignx.svg")
    assert (tmp_path / "alignx.svg").exists()


def test_no_cases_say_so(tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text("[]", encoding="utf-8")
    for nothing in (empty, tmp_path):
        with pytest.raises(InvalidRecordError, match="no cases"):
            alignx.run(nothing)


def test_cases_without_comparisons_are_abstentions(tmp_path):
    path = tmp_path / "bare.json"
    bare = {key: value for key, value in case(0, child=True).items() if "Pair" not in key}
    path.write_text(json.dumps([bare, bare]), encoding="utf-8")
    result = alignx.run(path)
    assert result["arms"]["own"]["accuracy"] == 0.5
    assert result["learning"] == {}


def test_log_probabilities_are_those_of_one_reply_at_a_time(replies):
    asked = [HumanMessage("What is bread?")]
    told = ["It is food.", "Bread is a baked food made of flour, water and salt."]
    together = replies.log_probabilities(asked, told)
    prompt = replies.tokenizer(render(replies.tokenizer, asked), add_special_tokens=False)["input_ids"]
    for reply, found in zip(told, together, strict=True):
        ids = replies.tokenizer(reply, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = replies.model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        naive = sum(float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(ids))
        assert found == pytest.approx(naive, rel=1e-4)
        assert found < 0
        assert math.isfinite(found)


def test_the_arms_of_a_model_are_counted_over_the_plain_model(tmp_path):
    cases = read_cases(write_psoups(tmp_path))[:2]
    result = model_arms(cases, "demo", encoder=open_encoder())
    assert {"plain", "ica", "pba"} <= set(result["arms"])
    assert all(len(gains) == 2 for gains in result["gains"].values())
    assert any(abs(gain) > 1e-6 for gain in result["gains"]["ica"])
