"""Tool calls out of text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_align.models import ChatTransformers
from persona_align.models.tool_calls import ToolStream, parse_tool_calls
from tests.models.scripted import ScriptedModel

CALL = '{"name": "add", "arguments": {"a": 1, "b": {"c": "}</x>"}}}'
ARGS = {"a": 1, "b": {"c": "}</x>"}}
FORMS = {
    "hermes": f"<tool_call>\n{CALL}\n</tool_call>",
    "hermes without an end": f"<tool_call>{CALL}",
    "python tag": f"<|python_tag|>{CALL.replace('arguments', 'parameters')}",
    "mistral": f"[TOOL_CALLS][{CALL}]",
    "fenced": f"```json\n{CALL}\n```",
    "fence without a language": f"```\n{CALL}\n```",
    "bare": f"  {CALL}\n",
    "openai": '{"type": "function", "function": ' + json.dumps({"name": "add", "arguments": json.dumps(ARGS)}) + "}",
    "list": f"[{CALL}]",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_formats(text):
    parsed = parse_tool_calls(text, ["add"])
    assert [(call["name"], call["args"]) for call in parsed.tool_calls] == [("add", ARGS)]
    assert (parsed.content, parsed.invalid_tool_calls) == ("", [])


@pytest.mark.parametrize("form", ["hermes", "python tag", "mistral", "fenced"])
def test_text_before_a_call_is_content(form):
    parsed = parse_tool_calls(f"Let me add. {FORMS[form]}", ["add"])
    assert (parsed.content, len(parsed.tool_calls)) == ("Let me add.", 1)


def test_several_calls_have_ids_of_their_own():
    one = f"<tool_call>{CALL}</tool_call>"
    parsed = parse_tool_calls(f"{one}\n{one}", ["add"], salt="a")
    assert len({call["id"] for call in parsed.tool_calls}) == 2
    assert parsed == parse_tool_calls(f"{one}\n{one}", ["add"], salt="a")
    assert parsed.tool_calls[0]["id"] != parse_tool_calls(f"{one}\n{one}", ["add"], salt="b").tool_calls[0]["id"]
    assert len(parse_tool_calls(f"<|python_tag|>{CALL}; {CALL}", ["add"]).tool_calls) == 2


@pytest.mark.parametrize(
    "text",
    ['{"name": "Ada", "age": 36}', '```json\n{"a": 1}\n```', "[1, 2]", "{not json", "Hi {there}", "", "```py\nx\n```"],
)
def test_other_json_is_a_reply(text):
    parsed = parse_tool_calls(text, ["add"])
    assert (parsed.content, parsed.tool_calls, parsed.invalid_tool_calls) == (text, [], [])


@pytest.mark.parametrize(
    "body", ['{"name": "add", "argum', "nonsense", '{"arguments": {}}', '{"name": "add", "arguments": 3}']
)
def test_a_marked_call_that_cannot_be_read_is_invalid(body):
    parsed = parse_tool_calls(f"<tool_call>{body}</tool_call>", ["add"])
    assert (parsed.tool_calls, len(parsed.invalid_tool_calls), parsed.content) == ([], 1, "")


@given(st.text("ab <tool_cal>|{[`\n", max_size=60), st.integers(1, 7))
def test_the_stream_loses_nothing_and_invents_nothing(text, size):
    stream = ToolStream()
    shown = "".join(stream.push(text[i : i + size]) for i in range(0, len(text), size))
    assert shown + stream.end() == text
    assert not any(mark in shown for mark in ("<tool_call>", "```"))


@pytest.mark.parametrize("streaming", [False, True])
def test_through_the_chat_model(tokenizer, streaming):
    model = ScriptedModel(tokenizer, lambda _: f"Let me add. <tool_call>{CALL}</tool_call>")
    chat = ChatTransformers(model=model, tokenizer=tokenizer).bind_tools(
        [{"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}]
    )
    if streaming:
        reply, *rest = chat.stream("1 + 2?")
        assert rest
        for chunk in rest:
            reply += chunk
    else:
        reply = chat.invoke("1 + 2?")
    assert reply.content.strip() == "Let me add."
    assert [call["args"] for call in reply.tool_calls] == [ARGS]
    assert reply.response_metadata["finish_reason"] == "tool_calls"


def test_tool_choice(chat):
    tools = [{"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}]
    for choice, bound in (("any", "any"), (True, "any"), (False, None), ({"function": {"name": "add"}}, "add")):
        assert chat.bind_tools(tools, tool_choice=choice).kwargs["tool_choice"] == bound
    with pytest.raises(ValueError, match="subtract"):
        chat.bind_tools(tools, tool_choice="subtract").invoke("Hi")
    assert chat.bind_tools(tools, tool_choice="none").invoke("Hi").content == chat.invoke("Hi").content
