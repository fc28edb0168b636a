"""OpenAI, ShareGPT and LangChain: the same conversation, whatever the file."""

from datetime import UTC, datetime

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, messages_to_dict

from persona_align.formats import open_source

SAID = [
    ("system", "You help."),
    ("user", "Short answers, please."),
    ("assistant", "Sure."),
    ("user", "Which tea for the evening?"),
]
OPENAI = [{"role": role, "content": text} for role, text in SAID]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt", "system": "system"}[role], "value": text} for role, text in SAID
]
LANGCHAIN = [
    {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}[role](content=text) for role, text in SAID
]
LINES = '{"role": "user", "content": "Short answers, please."}\n{"role": "assistant", "content": "Sure."}\n'

FILES = {
    "openai list": (OPENAI, "openai"),
    "openai object": ({"messages": OPENAI}, "openai"),
    "openai several": ([{"messages": OPENAI}], "openai"),
    "lmsys": ([{"conversation_id": "c", "conversation": OPENAI}], "openai"),
    "sharegpt": ([{"id": "c", "conversations": SHAREGPT}], "sharegpt"),
    "sharegpt list": (SHAREGPT, "sharegpt"),
    "langchain messages_to_dict": (messages_to_dict(LANGCHAIN), "langchain"),
    "langchain dumpd": ([dumpd(message) for message in LANGCHAIN], "langchain"),
    "langchain model_dump": ([message.model_dump() for message in LANGCHAIN], "langchain"),
    "langchain state": ({"messages": [message.model_dump() for message in LANGCHAIN]}, "langchain"),
    "langchain nested": ({"messages": [[dumpd(message) for message in LANGCHAIN]]}, "langchain"),
}


@pytest.mark.parametrize("name", FILES)
def test_one_conversation_however_it_is_written(name, write):
    content, format = FILES[name]
    source = open_source(write(content))
    records = list(source.records())
    assert source.format == format
    assert [(record.role, record.text) for record in records] == SAID
    assert len({record.id for record in records}) == len(SAID)
    assert len({record.thread_id for record in records}) == 1


def test_messages_one_to_a_line_are_one_conversation(read):
    records = read(LINES, "chat.jsonl")
    assert [record.role for record in records] == ["user", "assistant"]
    assert len({record.thread_id for record in records}) == 1


def test_reading_again_and_after_the_chat_went_on_gives_the_same_records(read):
    before = read(OPENAI)
    after = read([*OPENAI, {"role": "assistant", "content": "Camomile."}, {"role": "user", "content": "Sure."}])
    assert [record.id for record in read(OPENAI)] == [record.id for record in before]
    assert [record.id for record in after[: len(before)]] == [record.id for record in before]


def test_the_same_words_twice_in_a_chat_are_two_records(read):
    records = read([OPENAI[1], OPENAI[2], OPENAI[1]])
    assert len({record.id for record in records}) == 3


def test_two_conversations_have_two_threads(read):
    first, second = read([{"messages": OPENAI[1:2]}, {"messages": [{"role": "user", "content": "Other."}]}])
    assert first.thread_id != second.thread_id


def test_threads_ids_and_times_come_from_the_file(read):
    records = read(
        {
            "id": "t7",
            "created_at": 1_700_000_000,
            "messages": [OPENAI[1], {**OPENAI[3], "id": "m2", "created_at": "2024-05-01T10:00:00+02:00"}],
        }
    )
    assert [record.thread_id for record in records] == ["t7", "t7"]
    assert records[0].at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert records[1].at == datetime(2024, 5, 1, 8, tzinfo=UTC)


def test_milliseconds_are_told_from_seconds(read):
    (record,) = read([{**OPENAI[1], "timestamp": 1_700_000_000_000}])
    assert record.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_parts_calls_and_images_leave_their_text(read):
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    records = read(
        [
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
            {"role": "user", "content": [image]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "A cat.", "tool_call_id": "1"},
        ]
    )
    assert [(record.role, record.text) for record in records] == [("user", "What is this?"), ("tool", "A cat.")]


def test_a_langchain_tool_call_and_a_chat_message_are_understood(read):
    call = AIMessage(content="", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    chat = {"type": "chat", "data": {"content": "Hi there.", "role": "user"}}
    records = read([*messages_to_dict([call, ToolMessage("Blue.", tool_call_id="1")]), chat])
    assert [(record.role, record.text) for record in records] == [("tool", "Blue."), ("user", "Hi there.")]


def test_openai_preference_pairs_are_comparisons(read):
    (record,) = read(
        {
            "input": {"messages": OPENAI[:2]},
            "preferred_output": [{"role": "assistant", "content": "Tea."}],
            "non_preferred_output": [{"role": "assistant", "content": "There are many teas."}],
        }
    )
    assert (record.prompt, record.chosen, record.rejected) == (SAID[1][1], "Tea.", "There are many teas.")


def test_a_sharegpt_system_prompt_beside_the_messages_is_a_system_turn(read):
    records = read({"system": "You help.", "conversations": SHAREGPT[1:]})
    assert [(record.role, record.text) for record in records] == SAID
