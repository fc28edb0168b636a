"""Positions, padding, caches, beams, speculation: every way to run a prompt steers what was asked."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache, StaticCache

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering import SteeredModel
from persona_align.steering.offsets import Positions
from tests.oracles.naive_steering import naive_greedy, naive_logits
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import build

ROWS = prompts([6, 4, 7, 5], seed=3)
WAYS: dict[str, dict[str, Any]] = {
    "cache": {},
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunks": {"prefill_chunk_size": 3},
    "chunks with a last one of a single token": {"prefill_chunk_size": 6},
}


@pytest.fixture(scope="module")
def steered() -> SteeredModel:
    return SteeredModel.of(build())


def _plan(steered: SteeredModel) -> list[Any]:
    return [
        random_offsets(steered, 1),
        random_offsets(steered, 2, positions="generated"),
        random_offsets(steered, 3, positions="last_prompt_onward"),
        None,
    ]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_generate_steers_the_same_positions(steered: SteeredModel, way: str):
    plan = _plan(steered)
    expected = [naive_greedy(steered.model, row, one, 8) for row, one in zip(ROWS, plan, strict=True)]
    with steered.plan(plan):
        assert new_tokens(steered.model, batch(ROWS), 8, **WAYS[way]) == expected
    unsteered = [naive_greedy(steered.model, row, None, 8) for row in ROWS]
    assert [one != other for one, other in zip(expected, unsteered, strict=True)] == [True, True, True, False]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_direct_pass_is_a_prompt(steered: SteeredModel, side: str):
    plan = _plan(steered)
    with steered.plan(plan), torch.no_grad():
        logits = steered.model(**batch(ROWS, side)).logits
    starts = [0, len(ROWS[1]), len(ROWS[2]) - 1, 0]
    for got, row, offsets, start in zip(logits, ROWS, plan, starts, strict=True):
        real = got[-len(row) :] if side == "left" else got[: len(row)]
        torch.testing.assert_close(real, naive_logits(steered.model, row, offsets, start), atol=2e-5, rtol=0)


def test_generated_positions_leave_the_prompts_cache_shareable(steered: SteeredModel):
    inputs, cache, clean = batch(ROWS), DynamicCache(), DynamicCache()
    with torch.no_grad():
        steered.model(**inputs, past_key_values=clean)
        with steered.plan([random_offsets(steered, 5, positions="generated")] * 4):
            steered.model(**inputs, past_key_values=cache)
    for layer, other in zip(cache.layers, clean.layers, strict=True):
        assert torch.equal(layer.keys, other.keys)
        assert torch.equal(layer.values, other.values)


@pytest.mark.parametrize("positions", ["generated", "last_prompt_onward"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_cached_prefix_counts_as_prompt(steered: SteeredModel, positions: Positions, cache: str):
    row = prompts([9], seed=4)[0]
    offsets = random_offsets(steered, 6, positions=positions)
    kept: Any = DynamicCache() if cache == "dynamic" else StaticCache(steered.model.config, max_cache_len=32)
    with torch.no_grad():
        steered.model(torch.tensor([row[:5]]), past_key_values=kept)
    with steered.plan([offsets]):
        written = new_tokens(steered.model, batch([row]), 6, past_key_values=kept)
    assert written == [naive_greedy(steered.model, row, offsets, 6)]


def test_a_loop_of_ones_own_can_tell_the_length_of_its_prompt(steered: SteeredModel):
    row = prompts([7], seed=5)[0]
    offsets = random_offsets(steered, 7, positions="last_prompt_onward")
    cache, pieces = DynamicCache(), (row[:3], row[3:5], row[5:6], row[6:])
    with steered.plan([offsets], prompt_length=6), torch.no_grad():
        got = [steered.model(torch.tensor([piece]), past_key_values=cache).logits[0] for piece in pieces]
    torch.testing.assert_close(torch.cat(got), naive_logits(steered.model, row, offsets, 5), atol=2e-5, rtol=0)


def test_rows_expand_with_beams_and_return_sequences(steered: SteeredModel):
    rows, plan = prompts([5, 6], seed=6), [random_offsets(steered, 8), None]
    options = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 6, "do_sample": False}
    inputs = batch(rows)
    with steered.plan(plan):
        together = steered.model.generate(**inputs, **options)
    for index, offsets in enumerate(plan):
        alone = {name: tensor[index : index + 1] for name, tensor in inputs.items()}
        with steered.plan([offsets]):
            expected = steered.model.generate(**alone, **options)
        assert torch.equal(together[2 * index : 2 * index + 2], expected)
    assert not torch.equal(together[:2], steered.model.generate(**inputs, **options)[:2])


def test_sampling_sees_the_steered_distribution(steered: SteeredModel):
    options = {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 6}
    inputs, offsets = batch(ROWS[:1]), random_offsets(steered, 9, positions="last_prompt_onward")
    with steered.plan([offsets]):
        torch.manual_seed(0)
        steered_text = steered.model.generate(**inputs, **options, output_logits=True, return_dict_in_generate=True)
    expected = naive_logits(steered.model, ROWS[0], offsets, len(ROWS[0]) - 1)[-1]
    for logits in steered_text.logits[0]:
        torch.testing.assert_close(logits, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("positions", ["all", "generated", "last_prompt_onward"])
def test_speculation_writes_what_plain_decoding_writes(steered: SteeredModel, positions: Positions):
    row = [5, 6, 7, 5, 6, 7, 5, 6]
    offsets = random_offsets(steered, 10, positions=positions)
    expected = [naive_greedy(steered.model, row, offsets, 10)]
    with steered.plan([offsets]):
        assert new_tokens(steered.model, batch([row]), 10, prompt_lookup_num_tokens=3) == expected
    with steered.plan([offsets]):
        assert new_tokens(steered.model, batch([row]), 10, assistant_model=build(seed=1)) == expected


def test_embeddings_in_place_of_ids(steered: SteeredModel):
    inputs = batch(ROWS)
    embedded = steered.model.get_input_embeddings()(inputs["input_ids"])
    plan = _plan(steered)
    with steered.plan(plan):
        expected = new_tokens(steered.model, inputs, 6)
    with steered.plan(plan):
        written = steered.model.generate(
            inputs_embeds=embedded, attention_mask=inputs["attention_mask"], max_new_tokens=6, do_sample=False
        )
    assert written.tolist() == expected


def test_a_batch_of_another_size_is_refused_before_any_layer(steered: SteeredModel):
    for plan in ([random_offsets(steered, 1), None, None], [None] * 3):
        with pytest.raises(IncompatibleOffsetsError, match="3 rows and the batch has 4"), steered.plan(plan):
            steered.model(**batch(ROWS))
