"""Threads and an event loop at once, many users, every way to call: no reply is made with another user's offsets."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from persona_align.steering import SteeredModel
from tests.steering.helpers import random_offsets

QUESTION = "How do I cook rice?"
USERS = 12


@pytest.fixture(scope="module")
def crowd(hf_model):
    return [None, *(random_offsets(SteeredModel.of(hf_model), seed) for seed in range(1, USERS))]


def ask(chat, offsets, way):
    if way == 0:
        return chat.invoke(QUESTION, offsets=offsets).text
    if way == 1:
        return "".join(chunk.text for chunk in chat.stream(QUESTION, offsets=offsets))
    return chat.generate_rows([QUESTION, "Hello"], offsets=[offsets, None])[0].text


async def aask(chat, offsets, way):
    if way == 0:
        return (await chat.ainvoke(QUESTION, offsets=offsets)).text
    return "".join([chunk.text async for chunk in chat.astream(QUESTION, offsets=offsets)])


def test_no_reply_is_another_users(chat, crowd):
    alone = [chat.invoke(QUESTION, offsets=offsets).text for offsets in crowd]
    assert len(set(alone)) == USERS
    plan = random.Random(0).choices(range(USERS), k=160)

    async def tasks(users):
        return await asyncio.gather(*(aask(chat, crowd[user], i % 2) for i, user in enumerate(users)))

    with ThreadPoolExecutor(9) as pool:
        loop = pool.submit(asyncio.run, tasks(plan[:80]))
        threads = [pool.submit(ask, chat, crowd[user], i % 3) for i, user in enumerate(plan[80:])]
        replies = [*loop.result(), *(thread.result() for thread in threads)]
    assert replies == [alone[user] for user in plan]
