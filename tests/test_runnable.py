"""The runnable over a flow that only notes what it was asked."""

import asyncio

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from persona_align.errors import MissingUserError
from persona_align.runnable import AlignedRunnable, Plan
from persona_align.testing import EchoChat


class NotedFlow:
    def __init__(self):
        self.said = []
        self.replies = []

    def prepare(self, user_id, thread_id, messages):
        self.said.append((user_id, thread_id, messages[-1].text))
        return Plan(messages=[*messages[:-1], HumanMessage(f"{user_id} {messages[-1].text}")], why={"mode": "test"})

    def finish(self, user_id, thread_id, reply):
        self.replies.append((user_id, thread_id, reply))


@pytest.fixture
def flow():
    return NotedFlow()


@pytest.fixture
def aligned(flow):
    return AlignedRunnable(model=EchoChat(), flow=flow)


def config(user="ada", thread="t1"):
    return {"configurable": {"user_id": user, "thread_id": thread}}


def test_invoke(aligned, flow):
    reply = aligned.invoke("hello", config())
    assert reply.text == "ada hello"
    assert reply.response_metadata["persona_align"] == {"mode": "test"}
    assert flow.said == [("ada", "t1", "hello")]
    assert flow.replies == [("ada", "t1", "ada hello")]


async def test_ainvoke_and_astream(aligned, flow):
    assert (await aligned.ainvoke("hello", config())).text == "ada hello"
    chunks = [chunk async for chunk in aligned.astream("big world", config())]
    assert "".join(chunk.text for chunk in chunks) == "ada big world"
    assert len(chunks) == 3
    assert [reply for _, _, reply in flow.replies] == ["ada hello", "ada big world"]


def test_stream_records_once_and_only_when_complete(aligned, flow):
    stream = aligned.stream("big world", config())
    assert next(stream).text == "ada "
    assert flow.replies == []
    assert "".join(chunk.text for chunk in stream) == "big world"
    assert flow.replies == [("ada", "t1", "ada big world")]


def test_a_reader_who_leaves_records_no_reply(aligned, flow):
    stream = aligned.stream("big world", config())
    next(stream)
    stream.close()
    del stream
    assert flow.said
    assert flow.replies == []


def test_streamed_chunks_say_why_once(aligned):
    chunks = list(aligned.stream("big world", config()))
    assert sum(chunks[1:], chunks[0]).response_metadata["persona_align"] == {"mode": "test"}


def test_batch_with_a_config_a_row(aligned, flow):
    users = [f"user{i}" for i in range(8)]
    replies = aligned.batch(["hi"] * 8, [config(user) for user in users])
    assert [reply.text for reply in replies] == [f"{user} hi" for user in users]
    assert sorted(flow.replies) == sorted((user, "t1", f"{user} hi") for user in users)


async def test_abatch_with_a_config_a_row(aligned):
    replies = await aligned.abatch(["hi"] * 4, [config(f"user{i}") for i in range(4)])
    assert [reply.text for reply in replies] == [f"user{i} hi" for i in range(4)]


def test_bind_with_config_and_piping(aligned):
    bound = aligned.bind(stop=["x"]).with_config(configurable={"user_id": "ben"})
    assert bound.invoke("hi").text == "ben hi"
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | aligned | StrOutputParser()
    assert chain.invoke({"q": "hi"}, config()) == "ada hi"
    assert list(chain.stream({"q": "big world"}, config())) == ["ada ", "big ", "world"]
    inner = RunnableLambda(lambda text: aligned.invoke(text))
    assert inner.invoke("hi", config("eve")).text == "eve hi"


class Watching(BaseCallbackHandler):
    """Keeps the custom events and what the model's run knew of itself."""

    def __init__(self):
        self.events = []
        self.metadata = []

    def on_custom_event(self, name, data, **kwargs):
        self.events.append((name, data))

    def on_chat_model_start(self, serialized, messages, *, metadata=None, **kwargs):
        self.metadata.append(metadata["persona_align"])


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
def test_callbacks_hear_what_shapes_a_reply_and_texts_only_when_asked(aligned, way):
    def call(**configurable):
        watching = Watching()
        asked = {"configurable": {"user_id": "ada", **configurable}, "callbacks": [watching]}
        if way in ("invoke", "stream"):
            list(getattr(aligned, way)("hello", asked))
        elif way == "ainvoke":
            asyncio.run(aligned.ainvoke("hello", asked))
        else:

            async def read():
                return [chunk async for chunk in aligned.astream("hello", asked)]

            asyncio.run(read())
        return watching

    watching = call()
    assert watching.events == [("persona_align", {"mode": "test"})]
    assert watching.metadata == [{"mode": "test"}]
    assert call(trace_texts=True).events == [("persona_align", {"mode": "test", "texts": ["ada hello"]})]


async def test_streamed_events_hold_it_too(aligned):
    events = [event async for event in aligned.astream_events("hello", config())]
    assert [e["data"] for e in events if e["event"] == "on_custom_event"] == [{"mode": "test"}]


async def test_events_reach_the_model(aligned):
    events = [event async for event in aligned.astream_events("big world", config(), version="v2")]
    streamed = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(streamed) == "ada big world"


@pytest.mark.parametrize("bad", [None, {}, {"configurable": {}}, config(""), config("  "), config(7)])
def test_without_a_user_nothing_happens(aligned, flow, bad):
    for call in (aligned.invoke, lambda *a: list(aligned.stream(*a)), lambda *a: asyncio.run(aligned.ainvoke(*a))):
        with pytest.raises(MissingUserError, match="user_id"):
            call("hello", bad)
    assert flow.said == []
    assert aligned.model.prompts == []


@pytest.mark.parametrize("bad", [None, 7, [], {"q": "hi"}, b"hi", [object()]])
def test_other_input_is_a_type_error(aligned, flow, bad):
    with pytest.raises(TypeError):
        aligned.invoke(bad, config())
    assert flow.said == []


def test_a_failed_generation_records_no_reply(flow):
    failing = AlignedRunnable(model=EchoChat(fail=RuntimeError("out of memory")), flow=flow)
    for call in (failing.invoke, lambda *a: list(failing.stream(*a))):
        with pytest.raises(RuntimeError, match="out of memory"):
            call("hello", config())
    assert len(flow.said) == 2
    assert flow.replies == []


def test_candidates_are_ranked(flow):
    class Choosing(NotedFlow):
        def prepare(self, user_id, thread_id, messages):
            return Plan(messages=messages, attempts=({"n": 1}, {"n": 2}, {"n": 3}), choose=lambda texts: 1)

    class Numbered(EchoChat):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            result = super()._generate(messages)
            result.generations[0].message = AIMessage(f"candidate {kwargs['n']}")
            return result

    aligned = AlignedRunnable(model=Numbered(), flow=Choosing())
    assert aligned.invoke("hi", config()).text == "candidate 2"
    assert "".join(chunk.text for chunk in aligned.stream("hi", config())) == "candidate 2"
    assert asyncio.run(aligned.ainvoke("hi", config())).text == "candidate 2"


def test_config_specs_name_user_and_thread(aligned):
    assert {spec.id for spec in aligned.config_specs} == {"user_id", "thread_id"}
