"""Requests of many users in one batch: who meets whom, in which order, and what one's failure does to the others."""

import asyncio
import contextvars
import subprocess
import sys
import threading
import time

import pytest

from persona_align.errors import QueueFullError
from persona_align.models import ChatTransformers, batching
from persona_align.models.batching import Batcher
from persona_align.models.rows import Row
from persona_align.models.settings import Settings
from persona_align.runnable import AlignedRunnable, Plan
from tests.conftest import ROOT
from tests.models.tiny import tiny_model

QUESTION = "How do I cook rice?"


@pytest.fixture
def rounds(monkeypatch):
    """The sizes of the rounds that ran."""
    sizes = []
    run = batching.run_round

    def counting(model, rows):
        sizes.append(len(rows))
        run(model, rows)

    monkeypatch.setattr(batching, "run_round", counting)
    return sizes


class Gate:
    """Rounds wait before it until it is opened."""

    def __init__(self):
        self.entered, self.opened = threading.Event(), threading.Event()

    async def busy(self, chat):
        """Ask one question and come back when its round has begun."""
        task = asyncio.create_task(chat.ainvoke(QUESTION))
        await until(self.entered.is_set)
        return task


@pytest.fixture
def gate(monkeypatch):
    made = Gate()
    run = batching.run_round

    def held(model, rows):
        made.entered.set()
        assert made.opened.wait(20)
        run(model, rows)

    monkeypatch.setattr(batching, "run_round", held)
    yield made
    made.opened.set()


class LateFlow:
    """Prepares the request of the user "late" only when something has happened."""

    def __init__(self, happened):
        self.happened, self.late = happened, threading.Event()

    def prepare(self, user_id, thread_id, messages):
        if user_id == "late":
            self.late.set()
            end = time.monotonic() + 20
            while not self.happened() and time.monotonic() < end:
                time.sleep(0.002)
        return Plan(messages=messages)

    def finish(self, user_id, thread_id, reply):
        pass


def waiting(chat):
    return Batcher.of(chat.model)._waiting


async def until(condition):
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never happened")


class TestMeeting:
    async def test_what_comes_during_a_round_meets_in_the_next(self, chat, users, gate, rounds):
        first = await gate.busy(chat)
        tasks = [asyncio.create_task(chat.ainvoke(QUESTION, offsets=user)) for user in users]
        await until(lambda: waiting(chat) == 4)
        gate.opened.set()
        replies = await asyncio.gather(first, *tasks)
        assert rounds == [1, 4]
        assert [r.content for r in replies] == [chat.invoke(QUESTION, offsets=o).content for o in (None, *users)]

    def test_rows_are_one_batch(self, chat, users, rounds):
        chat.generate_rows([QUESTION] * 20, offsets=(users * 5))
        assert rounds == [20]

    def test_batch_fills_its_batches(self, hf_model, tokenizer, rounds):
        chat = ChatTransformers(model=hf_model, tokenizer=tokenizer, max_tokens=8, max_batch=4)
        chat.batch([QUESTION] * 8)
        assert rounds[0] == 4
        assert max(rounds) == 4
        assert sum(rounds) == 8

    async def test_abatch_too(self, hf_model, tokenizer, rounds):
        chat = ChatTransformers(model=hf_model, tokenizer=tokenizer, max_tokens=8, max_batch=4)
        await chat.abatch([QUESTION] * 8)
        assert rounds[0] == 4

    async def test_a_round_waits_for_requests_that_are_being_written(self, chat, users, rounds, monkeypatch):
        monkeypatch.setattr(batching, "_COMING_SECONDS", 20)
        with Batcher.of(chat.model).coming():  # this one is being written
            early = asyncio.create_task(asyncio.to_thread(contextvars.Context().run, chat.invoke, QUESTION))
            await until(lambda: waiting(chat) == 1)
            await asyncio.sleep(0.05)
            assert rounds == []
            late = await chat.ainvoke(QUESTION, offsets=users[0])
        assert rounds == [2]
        assert (await early).content == chat.invoke(QUESTION).content
        assert late.content == chat.invoke(QUESTION, offsets=users[0]).content

    @pytest.mark.parametrize("call", ["invoke", "ainvoke", "stream", "astream"])
    async def test_a_round_waits_for_requests_that_are_being_aligned(self, chat, rounds, monkeypatch, call):
        monkeypatch.setattr(batching, "_COMING_SECONDS", 20)
        flow = LateFlow(lambda: waiting(chat) == 1)
        aligned = AlignedRunnable(model=chat, flow=flow, announced=Batcher.of(chat.model).coming)

        async def ask(user):
            config = {"configurable": {"user_id": user}}
            if call == "ainvoke":
                return (await aligned.ainvoke(QUESTION, config)).text
            if call == "astream":
                return "".join([chunk.text async for chunk in aligned.astream(QUESTION, config)])
            return await asyncio.to_thread(
                lambda: (
                    aligned.invoke(QUESTION, config).text
                    if call == "invoke"
                    else "".join(chunk.text for chunk in aligned.stream(QUESTION, config))
                )
            )

        late = asyncio.create_task(ask("late"))
        await until(flow.late.is_set)
        assert await ask("early") == await late == chat.invoke(QUESTION).text
        assert rounds == [2, 1]
        assert Batcher.of(chat.model)._coming == 0

    def test_more_requests_than_a_block_announced_are_counted_too(self, chat):
        batcher = Batcher.of(chat.model)
        with batcher.coming():
            with batcher.coming():
                assert batcher._coming == 1
                with batcher.coming():
                    assert batcher._coming == 1  # inside of the one that is counted
            assert batcher._coming == 0
            with batcher.coming(2):
                assert batcher._coming == 2
        assert batcher._coming == 0

    async def test_it_does_not_wait_for_long(self, chat):
        with Batcher.of(chat.model).coming():  # never submitted
            replies = [asyncio.to_thread(contextvars.Context().run, chat.invoke, QUESTION) for _ in range(2)]
            assert len(await asyncio.wait_for(asyncio.gather(*replies), 20)) == 2

    def test_announcements_leave_nothing_behind(self, chat, tokenizer):
        chat.batch([[], [], QUESTION], return_exceptions=True)
        with pytest.raises(TypeError):
            chat.invoke(QUESTION, unknown=1)
        list(chat.stream(QUESTION))
        assert Batcher.of(chat.model)._coming == 0

    def test_all_chats_over_a_model_share_its_queue(self, hf_model, tokenizer):
        other = ChatTransformers(model=hf_model, tokenizer=tokenizer)
        assert Batcher.of(hf_model) is Batcher.of(other.model) is not Batcher.of(tiny_model())

    def test_a_batch_with_fewer_requests_than_announced_goes_on(self, chat):
        assert isinstance(chat.batch([[], [], QUESTION], return_exceptions=True)[0], ValueError)
        started = time.monotonic()
        chat.invoke(QUESTION)
        assert time.monotonic() - started < 10

    def test_a_row_near_the_end_of_the_context_goes_alone(self, tokenizer, rounds):
        chat = ChatTransformers(model=tiny_model(positions=64), tokenizer=tokenizer, max_tokens=40)
        questions = ["Hello", "Hello " * 8, "Bye"]
        replies = chat.generate_rows(questions)
        assert rounds == [2, 1]
        assert [r.content for r in replies] == [chat.invoke(q).content for q in questions]


class TestRows:
    async def test_each_streams_its_own_tokens(self, chat, users):
        async def listen(user, length):
            chunks = [chunk async for chunk in chat.astream(QUESTION, offsets=user, max_tokens=length)]
            return "".join(chunk.content for chunk in chunks), chunks[-1].usage_metadata["output_tokens"]

        heard = await asyncio.gather(*(listen(user, 4 + 3 * i) for i, user in enumerate(users)))
        for i, (user, (text, count)) in enumerate(zip(users, heard, strict=True)):
            assert text == chat.invoke(QUESTION, offsets=user, max_tokens=4 + 3 * i).content
            assert count == 4 + 3 * i

    async def test_a_short_reply_does_not_wait_for_a_long_one(self, chat, gate, rounds):
        ended = []

        async def ask(length):
            await chat.ainvoke(QUESTION, max_tokens=length)
            ended.append(length)

        first = await gate.busy(chat)
        others = [asyncio.create_task(ask(length)) for length in (250, 2)]
        await until(lambda: waiting(chat) == 2)
        gate.opened.set()
        await asyncio.gather(first, *others)
        assert (ended, rounds) == ([2, 250], [1, 2])

    async def test_settings_do_not_cross(self, chat, users):
        calls = [
            {
                "offsets": users[i % 4],
                "temperature": float(i % 2),
                "seed": i,
                "max_tokens": 5 + i,
                "stop": ["e"] * (i % 3),
            }
            for i in range(12)
        ]
        together = await asyncio.gather(*(chat.ainvoke(QUESTION, **call) for call in calls))
        assert [reply.content for reply in together] == [chat.invoke(QUESTION, **call).content for call in calls]


class TestQueue:
    async def test_a_full_queue_is_an_error_and_not_a_wait(self, hf_model, tokenizer, gate):
        chat = ChatTransformers(model=hf_model, tokenizer=tokenizer, max_tokens=4, max_queue=2)
        batcher = Batcher.of(hf_model)
        running = await gate.busy(chat)
        queued = [asyncio.create_task(chat.ainvoke(QUESTION)) for _ in range(2)]
        await until(lambda: batcher._waiting == 2)
        with pytest.raises(QueueFullError, match="max_queue"):
            await chat.ainvoke(QUESTION)
        gate.opened.set()
        replies = await asyncio.gather(running, *queued)
        assert len({reply.content for reply in replies}) == 1

    async def test_who_went_away_is_not_served(self, chat, gate, rounds):
        batcher = Batcher.of(chat.model)
        running = await gate.busy(chat)
        queued = [asyncio.create_task(chat.ainvoke(QUESTION)) for _ in range(3)]
        await until(lambda: batcher._waiting == 3)
        queued[1].cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(running, queued[0], queued[2])
        assert rounds == [1, 2]

    def test_one_user_with_many_requests_alternates_with_the_others(self, hf_model, users):
        order = []
        batcher = Batcher()

        class Ended:
            done = False

            def __init__(self, name, offsets):
                self.name, self.offsets = name, offsets

            def fits_with(self, others):
                return True

            prompt = (1,)

        batcher._worker = threading.current_thread()  # nobody serves: only the order is looked at
        for name, offsets in [*[("flood", users[0])] * 5, ("ada", users[1]), ("eve", users[2]), ("anonymous", None)]:
            batcher.submit(hf_model, [Ended(name, offsets)], max_batch=1, max_queue=99)
        while tickets := batcher._take():
            order += [row.name for ticket in tickets for row in ticket.rows]
        assert order == ["flood", "ada", "eve", "anonymous", "flood", "flood", "flood", "flood"]

    @pytest.mark.parametrize(
        ("lengths", "fit"),
        [([50] * 16, True), ([300, 900] * 8, True), ([50] * 15 + [2000], False), ([9000, 10], False)],
    )
    def test_a_very_long_prompt_does_not_pad_many_short_ones(self, tokenizer, lengths, fit):
        rows = [
            Row([1] * length, Settings(), tokenizer=tokenizer, ends=frozenset(), deliver=print) for length in lengths
        ]
        assert batching._fit(rows) == fit

    def test_the_thread_is_reused_and_ends_with_the_work(self, chat, monkeypatch):
        monkeypatch.setattr(batching, "_IDLE_SECONDS", 0.5)
        workers = []
        for _ in range(2):
            chat.invoke(QUESTION)
            workers.append(Batcher.of(chat.model)._worker)
        assert workers[0] is workers[1] is not None
        workers[0].join(20)
        assert not workers[0].is_alive()
        assert Batcher.of(chat.model)._worker is None

    def test_an_idle_thread_does_not_hold_up_the_end_of_a_program(self):
        script = (
            "import time; from tests.models.tiny import *; from persona_align.models import ChatTransformers, batching;"
            "batching._IDLE_SECONDS = 300;"
            "ChatTransformers(model=tiny_model(), tokenizer=tiny_tokenizer(), max_tokens=2).invoke('Hi')"
        )
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120, cwd=ROOT)


class TestFailure:
    """A model that fails on one row's prompt."""

    @pytest.fixture
    def fragile(self, tokenizer):
        model = tiny_model()
        poison = tokenizer("dog", add_special_tokens=False)["input_ids"][0]

        def fail(module, args, kwargs):
            ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
            if ids.shape[1] > 1 and bool((ids == poison).any()):
                raise RuntimeError("cannot read about dogs")

        model.register_forward_pre_hook(fail, with_kwargs=True)
        return ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=6)

    async def test_the_others_get_their_replies(self, fragile):
        questions = ["cats?", "dog", "rice?", "mats?"]
        replies = await fragile.abatch(questions, return_exceptions=True)
        assert isinstance(replies[1], RuntimeError)
        assert [r.content for i, r in enumerate(replies) if i != 1] == [
            fragile.invoke(q).content for q in questions if q != "dog"
        ]

    def test_every_way_to_call_hears_of_it(self, fragile):
        for call in (fragile.invoke, lambda q: list(fragile.stream(q)), lambda q: fragile.generate_rows([q, "cats?"])):
            with pytest.raises(RuntimeError, match="dogs"):
                call("dog")
        assert fragile.invoke("cats?").content

    async def test_a_failure_after_the_first_token_reaches_every_row(self, tokenizer):
        model = tiny_model()
        steps = []

        def fail(module, args, kwargs):
            steps.append(1)
            if len(steps) == 4:
                raise RuntimeError("out of memory")

        model.register_forward_pre_hook(fail, with_kwargs=True)
        chat = ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=9)
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(chat.ainvoke("Hi"), 20)
        assert (await chat.ainvoke("Hi")).content

    def test_a_loop_that_is_gone_hurts_nobody(self, chat):
        async def leave():
            asyncio.get_running_loop().create_task(chat.ainvoke(QUESTION, max_tokens=50))
            await asyncio.sleep(0.01)

        asyncio.run(leave())
        assert chat.invoke(QUESTION).content
