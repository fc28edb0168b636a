"""Concurrent users: nobody is answered with another user's offsets; the bias-swapping way fails the same test."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

from persona_align.steering import ActivationOffsets, SteeredModel
from tests.oracles.bias_swapping import BiasSwapping
from tests.oracles.naive_steering import naive_greedy
from tests.steering.helpers import batch, new_tokens, prompts, random_offsets
from tests.steering.models import build

USERS, THREADS, TOKENS = 32, 8, 4
PROMPT = prompts([5])[0]
Steer = Callable[[ActivationOffsets | None], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def hf_model() -> Any:
    return build()


@pytest.fixture(scope="module")
def people(hf_model: Any) -> list[ActivationOffsets | None]:
    steered = SteeredModel.of(hf_model)
    return [None if user % 8 == 0 else random_offsets(steered, user) for user in range(USERS)]


@pytest.fixture(scope="module")
def expected(hf_model: Any, people: list[ActivationOffsets | None]) -> list[list[int]]:
    texts = [naive_greedy(hf_model, PROMPT, offsets, TOKENS) for offsets in people]
    assert len(set(map(tuple, texts))) > USERS / 2  # else a mix-up could not show
    return texts


def _wrong_replies(hf_model: Any, people: list[Any], expected: list[list[int]], steer: Steer) -> int:
    barrier = threading.Barrier(THREADS)

    def reply(user: int) -> bool:
        with steer(people[user]):
            barrier.wait()  # every thread has chosen its user before any of them runs the model
            return new_tokens(hf_model, batch([PROMPT]), TOKENS) == [expected[user]]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(reply, range(USERS))).count(False)


def test_threads(hf_model: Any, people: list[Any], expected: list[list[int]]):
    steered = SteeredModel.of(hf_model)
    assert _wrong_replies(hf_model, people, expected, lambda one: steered.plan([one])) == 0


def test_the_same_test_catches_bias_swapping(hf_model: Any, people: list[Any], expected: list[list[int]]):
    swapping = BiasSwapping(hf_model)
    try:
        assert _wrong_replies(hf_model, people, expected, swapping.steer) > USERS / 4
    finally:
        swapping.remove()


async def test_tasks_of_one_loop(hf_model: Any, people: list[Any], expected: list[list[int]]):
    steered = SteeredModel.of(hf_model)

    async def reply(user: int) -> list[int]:
        with steered.plan([people[user]]):
            await asyncio.sleep(0)  # other tasks enter their plans here
            written = await asyncio.to_thread(new_tokens, hf_model, batch([PROMPT]), TOKENS)
            await asyncio.sleep(0)
            assert new_tokens(hf_model, batch([PROMPT]), TOKENS) == written
        return written[0]

    assert await asyncio.gather(*(reply(user) for user in range(USERS))) == expected


@torch.no_grad()
def test_other_threads_and_later_calls_see_nothing(hf_model: Any, people: list[Any]):
    steered, inputs = SteeredModel.of(hf_model), batch([PROMPT])
    unsteered = hf_model(**inputs).logits
    with ThreadPoolExecutor(1) as pool:
        with steered.plan([people[1]]):
            inherited = contextvars.copy_context()
            assert not torch.equal(hf_model(**inputs).logits, unsteered)
            assert torch.equal(pool.submit(hf_model, **inputs).result().logits, unsteered)
            copied = contextvars.copy_context()
            assert not torch.equal(pool.submit(copied.run, lambda: hf_model(**inputs)).result().logits, unsteered)
        # A worker that outlives the request does not carry its steering on.
        assert torch.equal(inherited.run(lambda: hf_model(**inputs)).logits, unsteered)
    assert torch.equal(hf_model(**inputs).logits, unsteered)


@torch.no_grad()
def test_an_inner_plan_replaces_the_outer_one(hf_model: Any, people: list[Any]):
    steered, inputs = SteeredModel.of(hf_model), batch([PROMPT])
    unsteered = hf_model(**inputs).logits
    with steered.plan([people[1]]):
        outer = hf_model(**inputs).logits
        with steered.plan([None]):
            assert torch.equal(hf_model(**inputs).logits, unsteered)
        assert torch.equal(hf_model(**inputs).logits, outer)


async def test_a_generator_closed_in_another_context_leaves_no_plan(hf_model: Any, people: list[Any]):
    steered, inputs = SteeredModel.of(hf_model), batch([PROMPT])

    async def stream():
        with steered.plan([people[1]]):
            yield new_tokens(hf_model, inputs, TOKENS)
            yield None

    replies = stream()
    await replies.__anext__()
    await asyncio.create_task(replies.aclose())
    assert new_tokens(hf_model, inputs, TOKENS) == [naive_greedy(hf_model, PROMPT, None, TOKENS)]
