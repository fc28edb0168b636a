"""The server under stress: clients that leave, models that stall, many connections, the end of the program."""

import asyncio
import json
import threading
import time

import httpx
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from persona_align import ChatTransformers, PersonaAligner
from persona_align.testing import EchoChat
from persona_align_server import create_app
from persona_align_server.serve import running
from tests.models.tiny import tiny_model, tiny_tokenizer

LONG = 1900


@pytest.fixture(scope="module")
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        # What is loaded once, is now.
        opened.wrap(EchoChat()).invoke("Tell me a story.", {"configurable": {"user_id": "first"}})
        yield opened


@pytest.fixture
def user(aligner, request):
    """Somebody new in every test."""
    yield request.node.name
    aligner.forget(request.node.name)


def roles(aligner, user):
    return [record.get("role") for record in aligner.export(user)["records"]]


def body(user, **more):
    return {"messages": [{"role": "user", "content": "Tell me a story."}], "user": user, **more}


class Stalling(EchoChat):
    """Says a word and then nothing for a long time."""

    words: int = 1

    async def _agenerate(self, *args, **kwargs):
        await asyncio.sleep(60)

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for _ in range(self.words):
            yield ChatGenerationChunk(message=AIMessageChunk("Once "))
        await asyncio.sleep(60)


@pytest.fixture
def counted():
    """A chat model that would talk for long, and the tokens that it has made."""
    model = tiny_model(positions=2048)
    model.generation_config.eos_token_id = None
    steps = []

    def count(*_):
        steps.append(1)
        time.sleep(0.005)

    model.register_forward_pre_hook(count)
    return ChatTransformers(model=model, tokenizer=tiny_tokenizer(), max_tokens=LONG), steps


def settled(steps):
    """The number of steps once it grows no more."""
    before = -1
    while before != len(steps):
        before = len(steps)
        time.sleep(0.3)
    return before


def test_a_client_that_leaves_a_stream_stops_the_generation_and_nothing_is_half_recorded(aligner, user, counted):
    chat, steps = counted
    with running(create_app(aligner, chat)) as url:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body(user, stream=True), timeout=60) as answer:
            next(answer.iter_lines())
        assert settled(steps) < LONG
        assert roles(aligner, user) == ["user"]
        assert httpx.get(f"{url}/health").status_code == 200


def test_a_client_that_leaves_while_it_waits_stops_the_generation_too(aligner, user, counted):
    chat, steps = counted
    with running(create_app(aligner, chat)) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json=body(user), timeout=httpx.Timeout(60, read=1.0))
        assert settled(steps) < LONG
        assert roles(aligner, user) == ["user"]


@pytest.mark.parametrize(("words", "stream"), [(0, True), (0, False)])
def test_a_model_that_stalls_is_a_504(aligner, user, words, stream):
    with running(create_app(aligner, Stalling(words=words), timeout=0.3)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body(user, stream=stream), timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "model_timeout")
    assert roles(aligner, user) == ["user"]


def test_a_model_that_stalls_in_mid_stream_says_so_in_the_stream(aligner, user):
    with running(create_app(aligner, Stalling(), timeout=5)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body(user, stream=True), timeout=60)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert events[0]["choices"][0]["delta"]["content"] == "Once "
    assert events[-1]["error"]["code"] == 504
    assert "[DONE]" not in answer.text
    assert roles(aligner, user) == ["user"]


@pytest.mark.parametrize("broken", ["status", "nothing there"])
def test_an_upstream_that_fails_is_a_502(aligner, user, broken):
    from langchain_openai import ChatOpenAI

    def upstream(url):
        return ChatOpenAI(base_url=f"{url}/v1", api_key="none", model="echo", max_retries=0, timeout=10)

    with (
        running(create_app(aligner, EchoChat(fail=RuntimeError("secret")))) as behind,
        running(create_app(aligner, upstream(behind if broken == "status" else "http://127.0.0.1:9"))) as url,
    ):
        for stream in (False, True):
            answer = httpx.post(f"{url}/v1/chat/completions", json=body(user, stream=stream), timeout=60)
            assert answer.status_code == 502
            assert "secret" not in answer.text
    assert "assistant" not in roles(aligner, user)


def test_a_full_queue_is_a_503(aligner, user, counted):
    chat, steps = counted
    chat.max_queue = 1
    with running(create_app(aligner, chat)) as url:

        async def ask_all():
            async with httpx.AsyncClient(timeout=60) as client:
                asked = [client.post(f"{url}/v1/chat/completions", json=body(user)) for _ in range(8)]
                answering = [asyncio.ensure_future(each) for each in asked]
                first, others = await asyncio.wait(answering, return_when=asyncio.FIRST_COMPLETED)
                for each in others:
                    each.cancel()
                return [each.result() for each in first]

        answers = asyncio.run(ask_all())
        assert {answer.status_code for answer in answers} == {503}
        assert "max_queue" in answers[0].json()["error"]["message"]
        settled(steps)


def test_a_thousand_connections_at_once(aligner):
    async def hold_and_ask(port):
        async def connection():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            return reader, writer

        opened = [await connection() for _ in range(1000)]
        for _, writer in opened:
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = [await reader.readline() for reader, _ in opened]
        for _, writer in opened:
            writer.close()
        return lines

    with running(create_app(aligner, EchoChat())) as url:
        lines = asyncio.run(hold_and_ask(int(url.rpartition(":")[2])))
    assert set(lines) == {b"HTTP/1.1 200 OK\r\n"}
    assert len(lines) == 1000


def test_a_reply_under_way_is_finished_before_the_server_stops(aligner, user):
    class Slow(EchoChat):
        async def _agenerate(self, *args, **kwargs):
            begun.set()
            await asyncio.sleep(1)
            return self._generate(*args, **kwargs)

    begun = threading.Event()
    answers = []
    with running(create_app(aligner, Slow())) as url:
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/chat/completions", json=body(user), timeout=60))
        )
        asking.start()
        assert begun.wait(30)
    asking.join(30)
    assert answers[0].status_code == 200
    assert roles(aligner, user) == ["user", "assistant"]
