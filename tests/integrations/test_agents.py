"""The middleware in real agents of langchain, over real parts."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.tools import ToolRuntime
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from persona_align import PersonaAligner, Turn
from persona_align.errors import MissingUserError, UnsupportedModeError
from persona_align.testing import EchoChat
from persona_align_agents import PersonaMiddleware, persona_node, persona_tools

SHORT = Turn(role="user", text="Please keep your answers short and to the point, I hate long explanations.")


@dataclass
class Context:
    user_id: str


class Scripted(GenericFakeChatModel):
    """Plays messages one after another and keeps the prompts."""

    seen: list = []  # noqa: RUF012

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.seen.append([message.model_copy() for message in messages])
        return super()._generate(messages, stop, run_manager, **kwargs)


def scripted(*messages):
    return Scripted(messages=iter(messages), seen=[])


def call(name, **arguments):
    return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=f"call-{name}")])


@pytest.fixture
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        opened.record("ada", SHORT)
        yield opened


def texts(aligner, user="ada"):
    return [(record["role"], record["text"]) for record in aligner.export(user)["records"] if record["kind"] == "turn"]


def ask(agent, text="What shall I cook?", user="ada", **config):
    return agent.invoke({"messages": [("human", text)]}, context=Context(user), **config)


def test_an_agent_is_conditioned_and_recorded_once(aligner):
    model = scripted(AIMessage("Soup."))
    agent = create_agent(model, middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    final = ask(agent)["messages"]
    assert [message.text for message in final] == ["What shall I cook?", "Soup."]
    assert "Concise communication style" in model.seen[0][-1].text
    assert final[-1].response_metadata["persona_align"]["dimensions"]["conciseness"] > 0
    assert texts(aligner) == [("user", SHORT.text), ("user", "What shall I cook?"), ("assistant", "Soup.")]


def test_ica_shows_what_the_user_wrote(aligner):
    model = scripted(AIMessage("Soup."))
    ask(create_agent(model, middleware=[PersonaMiddleware(aligner, "ica")], context_schema=Context))
    assert SHORT.text in model.seen[0][-1].text


async def test_ainvoke(aligner):
    model = scripted(AIMessage("Soup."))
    agent = create_agent(model, middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    reply = await agent.ainvoke({"messages": [("human", "What shall I cook?")]}, context=Context("ada"))
    assert reply["messages"][-1].text == "Soup."
    assert "Concise" in model.seen[0][-1].text
    assert texts(aligner)[-1] == ("assistant", "Soup.")


def test_tool_calls_are_untouched_and_both_model_calls_are_conditioned(aligner):
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"Rain in {city}."

    model = scripted(call("weather", city="Rome"), AIMessage("Take an umbrella."))
    agent = create_agent(model, tools=[weather], middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    final = ask(agent, "What is the weather in Rome?")["messages"]
    assert [message.type for message in final] == ["human", "ai", "tool", "ai"]
    assert final[0].text == "What is the weather in Rome?"
    assert [sum("Concise" in m.text for m in prompt) for prompt in model.seen] == [1, 1]
    assert [role for role, _ in texts(aligner)] == ["user", "user", "assistant"]


def test_a_checkpointed_thread_records_each_message_once(aligner):
    model = scripted(AIMessage("One."), AIMessage("Two."))
    agent = create_agent(
        model, middleware=[PersonaMiddleware(aligner)], context_schema=Context, checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "t1"}}
    ask(agent, "yes", config=config)
    ask(agent, "yes", config=config)
    assert texts(aligner)[1:] == [("user", "yes"), ("assistant", "One."), ("user", "yes"), ("assistant", "Two.")]
    assert {record.get("thread_id") for record in aligner.export("ada")["records"][1:]} == {"t1"}


@pytest.mark.parametrize("context", [None, Context(""), {"user_id": None}])
def test_without_a_user_nothing_happens(aligner, context):
    model = scripted(AIMessage("Soup."))
    agent = create_agent(model, middleware=[PersonaMiddleware(aligner)])
    with pytest.raises(MissingUserError, match="context"):
        agent.invoke({"messages": [("human", "Hi")]}, context=context)
    assert model.seen == []


def test_a_model_failure_leaves_the_question_and_no_reply(aligner):
    agent = create_agent(
        EchoChat(fail=RuntimeError("gone")), middleware=[PersonaMiddleware(aligner)], context_schema=Context
    )
    with pytest.raises(RuntimeError, match="gone"):
        ask(agent)
    assert texts(aligner)[1:] == [("user", "What shall I cook?")]


def test_streaming_and_several_middlewares(aligner):
    agent = create_agent(
        EchoChat(),
        middleware=[PersonaMiddleware(aligner), PersonaMiddleware(aligner, "off", name="other", record=False)],
        context_schema=Context,
    )
    streamed = list(agent.stream({"messages": [("human", "Tell me")]}, context=Context("ada"), stream_mode="messages"))
    assert "Tell me" in "".join(chunk.text for chunk, _ in streamed)
    assert [role for role, _ in texts(aligner)] == ["user", "user", "assistant"]


def test_users_of_one_agent_do_not_meet(aligner):
    agent = create_agent(EchoChat(), middleware=[PersonaMiddleware(aligner)], context_schema=Context)

    async def all_at_once():
        asked = {"messages": [("human", "What shall I cook?")]}
        users = ["ada", "ben"] * 8
        return users, await asyncio.gather(*(agent.ainvoke(asked, context=Context(user)) for user in users))

    users, results = asyncio.run(all_at_once())
    for user, result in zip(users, results, strict=True):
        assert ("Concise" in result["messages"][-1].text) == (user == "ada")


def test_rerank_is_refused_in_an_agent(aligner):
    with pytest.raises(UnsupportedModeError, match="auto"):
        PersonaMiddleware(aligner, "rerank")
    with pytest.raises(TypeError, match="strenght"):
        PersonaMiddleware(aligner, strenght=2)


def test_tools_are_off_by_default(aligner):
    assert PersonaMiddleware(aligner).tools == []
    assert {tool.name for tool in persona_tools(aligner)} == {
        "remember_preference",
        "what_do_you_know_about_me",
        "forget_me",
    }


def tool_answer(aligner, text, message):
    model = scripted(message, AIMessage("Done."))
    agent = create_agent(model, middleware=[PersonaMiddleware(aligner, tools=True)], context_schema=Context)
    return next(m.text for m in ask(agent, text)["messages"] if m.type == "tool")


def test_only_the_users_own_words_are_remembered(aligner):
    said = "By the way, I love camping in the wild. Thanks."
    assert "Remembered" in tool_answer(aligner, said, call("remember_preference", quote="I love camping in the wild."))
    assert aligner.preferences("ada")["camping"].value > 0
    assert "Not remembered" in tool_answer(aligner, "Hello", call("remember_preference", quote="I love weddings."))
    assert aligner.preferences("ada")["weddings"].confidence == 0


def test_telling_what_is_known_with_the_evidence(aligner):
    told = tool_answer(aligner, "What do you know about me?", call("what_do_you_know_about_me"))
    assert "Concise communication style" in told
    assert SHORT.text in told


def test_forgetting_needs_the_users_own_confirmation(aligner):
    assert "Nothing was erased" in tool_answer(aligner, "Tidy up a bit", call("forget_me"))
    assert aligner.preferences("ada")["conciseness"].confidence > 0
    assert "Everything was erased" in tool_answer(aligner, "Please forget me.", call("forget_me"))
    assert aligner.preferences("ada")["conciseness"].confidence == 0
    assert SHORT.text not in str(aligner.export("ada"))


def test_after_forgetting_the_closing_reply_is_neither_aligned_nor_recorded(aligner):
    model = scripted(call("forget_me"), AIMessage("Goodbye, you who like short answers."), AIMessage("Hello."))
    middleware = PersonaMiddleware(aligner, tools=True)
    agent = create_agent(model, middleware=[middleware], context_schema=Context, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t1"}}
    final = ask(agent, "Please forget me.", config=config)["messages"]
    assert final[-1].text == "Goodbye, you who like short answers."
    assert [sum("Concise" in m.text for m in prompt) for prompt in model.seen] == [1, 0]
    assert aligner.export("ada")["records"] == []
    assert not middleware._asked
    ask(agent, "Hi again", config=config)
    assert texts(aligner) == [("user", "Hi again"), ("assistant", "Hello.")]


def rain(city: str) -> str:
    """The weather of a city."""
    return f"Rain in {city}."


def test_the_vector_is_read_once_a_run(aligner, monkeypatch):
    read = []
    preferences = aligner.preferences
    monkeypatch.setattr(aligner, "preferences", lambda user: read.append(user) or preferences(user))
    model = scripted(call("rain", city="Rome"), call("rain", city="Oslo"), AIMessage("Umbrella."), AIMessage("Yes."))
    agent = create_agent(model, tools=[rain], middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    ask(agent)
    assert (len(model.seen), read) == (3, ["ada"])
    ask(agent)
    assert read == ["ada", "ada"]


@pytest.mark.parametrize("resumed", ["sync", "async"])
def test_an_interrupted_run_is_recorded_once_and_goes_on_aligned(aligner, resumed):
    model = scripted(call("rain", city="Rome"), AIMessage("Umbrella."))
    agent = create_agent(
        model,
        tools=[rain],
        middleware=[PersonaMiddleware(aligner), HumanInTheLoopMiddleware(interrupt_on={"rain": True})],
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "t1"}}
    waiting = ask(agent, "Rain in Rome?", config=config)
    assert waiting["__interrupt__"]
    assert texts(aligner)[1:] == [("user", "Rain in Rome?")]
    approved = Command(resume={"decisions": [{"type": "approve"}]})
    if resumed == "sync":
        final = agent.invoke(approved, context=Context("ada"), config=config)
    else:
        final = asyncio.run(agent.ainvoke(approved, context=Context("ada"), config=config))
    assert final["messages"][-1].text == "Umbrella."
    assert [sum("Concise" in m.text for m in prompt) for prompt in model.seen] == [1, 1]
    assert texts(aligner)[1:] == [("user", "Rain in Rome?"), ("assistant", "Umbrella.")]


def test_a_sub_agent_serves_the_same_user_and_records_nothing_of_its_own(aligner):
    inner_model = scripted(AIMessage("It rains."))
    inner = create_agent(inner_model, middleware=[PersonaMiddleware(aligner, record=False)], context_schema=Context)

    def consult(question: str, runtime: ToolRuntime[Context, Any]) -> str:
        """Ask the expert."""
        found = inner.invoke({"messages": [("human", question)]}, context=runtime.context)
        return found["messages"][-1].text

    model = scripted(call("consult", question="I love weddings, does it rain?"), AIMessage("Yes."))
    agent = create_agent(model, tools=[consult], middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    assert ask(agent, "Rain?")["messages"][-1].text == "Yes."
    assert "Concise" in inner_model.seen[0][-1].text
    assert texts(aligner)[1:] == [("user", "Rain?"), ("assistant", "Yes.")]


@pytest.mark.parametrize("mode", ["values", "updates", "messages", ["updates", "messages"]])
async def test_every_streaming_mode_records_once(aligner, mode):
    agent = create_agent(EchoChat(), middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    asked = {"messages": [("human", "Tell me")]}
    assert list(agent.stream(asked, context=Context("ada"), stream_mode=mode))
    assert [event async for event in agent.astream(asked, context=Context("ada"), stream_mode=mode)]
    assert [role for role, _ in texts(aligner)[1:]] == ["user", "assistant"] * 2


async def test_a_model_failure_in_a_stream_leaves_no_reply(aligner):
    model = EchoChat(fail=RuntimeError("gone"))
    middleware = PersonaMiddleware(aligner)
    agent = create_agent(model, middleware=[middleware], context_schema=Context)
    asked = {"messages": [("human", "Tell me")]}
    with pytest.raises(RuntimeError, match="gone"):
        [event async for event in agent.astream(asked, context=Context("ada"), stream_mode="messages")]
    assert texts(aligner)[1:] == [("user", "Tell me")]


async def test_events_tell_what_shaped_each_model_call_by_name(aligner):
    agent = create_agent(EchoChat(), middleware=[PersonaMiddleware(aligner)], context_schema=Context)
    asked = {"messages": [("human", "Tell me")]}

    async def events(**configurable):
        streamed = agent.astream_events(
            asked, context=Context("ada"), config={"configurable": configurable}, version="v2"
        )
        return [e["data"] async for e in streamed if e["event"] == "on_custom_event" and e["name"] == "persona_align"]

    (told,) = await events()
    assert (told["mode"], told["dimensions"]["conciseness"] > 0) == ("pba", True)
    assert "texts" not in told
    (told,) = await events(trace_texts=True)
    assert any("Concise communication style" in text for text in told["texts"])


def test_a_node_in_a_plain_graph(aligner):
    graph = StateGraph(MessagesState, context_schema=Context)
    graph.add_node("reply", persona_node(aligner, EchoChat(), "pba"))
    graph.add_edge(START, "reply")
    result = graph.compile().invoke({"messages": [HumanMessage("Hello there")]}, context=Context("ada"))
    assert "Concise" in result["messages"][-1].text
    assert texts(aligner)[1] == ("user", "Hello there")
