"""Prompts for templates that know much, little or nothing."""

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from persona_align.errors import UnsupportedModelError
from persona_align.models.prompts import render
from tests.models.tiny import TEMPLATE, tiny_tokenizer

STRICT = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
)
SILENT = (
    "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}[{{ m.role }}]{{ m.content }}{% endif %}"
    "{% endfor %}"
)
CAPABLE = (
    "{% if tools %}[tools]{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[call]{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}"
    "{% endfor %}[assistant]"
)
ADD = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
TALK = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello."), HumanMessage("Bye")]
CALLED = [
    HumanMessage("1 + 2?"),
    AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1"}]),
    ToolMessage("3", tool_call_id="c1", name="add"),
]


def prompt(template, messages, **options):
    return render(tiny_tokenizer(template), messages, **options)


def test_every_role_goes_through_the_template():
    assert prompt(TEMPLATE, [*TALK, ChatMessage("What?", role="developer")]) == (
        "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Hello.<|end|><|user|>Bye<|end|>"
        "<|system|>What?<|end|><|assistant|>"
    )


def test_a_refused_system_message_goes_into_the_first_user_turn():
    assert prompt(STRICT, TALK) == "[user]Be brief.\n\nHi[assistant]Hello.[user]Bye[assistant]"


def test_so_does_one_that_the_template_would_drop():
    assert prompt(SILENT, TALK) == "[user]Be brief.\n\nHi[assistant]Hello.[user]Bye"


def test_a_dropped_system_message_is_noticed_even_where_its_words_appear_elsewhere():
    assert prompt(SILENT, [SystemMessage("Hi"), HumanMessage("Hi")]) == "[user]Hi\n\nHi"


@pytest.mark.parametrize("template", [TEMPLATE, STRICT, SILENT, None])
def test_an_empty_system_message_is_no_obstacle(template):
    assert "Hi" in prompt(template, [SystemMessage(""), HumanMessage("Hi")])


def test_neighbours_of_one_role_are_joined_where_roles_must_alternate():
    assert prompt(STRICT, [HumanMessage("a"), HumanMessage("b")]) == "[user]a\n\nb[assistant]"


def test_what_cannot_be_written_is_refused_with_the_templates_words():
    with pytest.raises(UnsupportedModelError, match="Roles must alternate"):
        prompt(STRICT, [AIMessage("I begin."), HumanMessage("Hi")])


def test_tools_go_natively_where_the_template_knows_them():
    text = prompt(CAPABLE, CALLED, tools=[ADD])
    assert text.startswith('[tools][{"type": "function", "function": {"name": "add"')
    assert text.endswith('[user]1 + 2?[assistant][call]add({"a": 1, "b": 2})[tool]3[assistant]')


@pytest.mark.parametrize("template", [SILENT, STRICT, TEMPLATE, None])
def test_tools_are_written_out_elsewhere(template):
    text = prompt(template, CALLED, tools=[ADD])
    assert '<tools>\n{"type": "function", "function": {"name": "add"' in text
    assert '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>' in text
    assert "<tool_response>\n3\n</tool_response>" in text


def test_a_tool_named_by_the_user_does_not_pass_for_an_offer():
    assert "<tools>" in prompt(SILENT, [HumanMessage("please add")], tools=[ADD])


def test_instructions_join_the_system_message():
    assert "Be brief.\n\nAnswer in JSON." in prompt(TEMPLATE, TALK, instruction="Answer in JSON.")
    assert prompt(TEMPLATE, TALK[1:2], instruction="JSON.").startswith("<|system|>JSON.<|end|><|user|>Hi")


def test_template_keywords():
    assert prompt("{{ mood }}{{ messages[0].content }}", [HumanMessage("Hi")], template_kwargs={"mood": "!"}) == "!Hi"


def test_the_plain_template():
    assert prompt(None, TALK) == "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Bye\n\nAssistant:"


def test_text_blocks_are_read_and_media_refused():
    blocks = [{"type": "text", "text": "Hi "}, "there"]
    assert "<|user|>Hi there<|end|>" in prompt(TEMPLATE, [HumanMessage(blocks)])
    with pytest.raises(UnsupportedModelError, match="image_url"):
        prompt(TEMPLATE, [HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])


def test_what_is_no_message():
    with pytest.raises(TypeError, match="RemoveMessage"):
        prompt(TEMPLATE, [RemoveMessage(id="x")])


def test_messages_stay_as_they_were():
    copies = [message.model_copy(deep=True) for message in (*TALK, *CALLED)]
    prompt(STRICT, [*TALK[:3], *CALLED], tools=[ADD], instruction="x")
    assert copies == [*TALK, *CALLED]
