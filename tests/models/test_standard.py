"""LangChain's standard suites. Random weights show the plumbing; a scripted model shows tools and structured output."""

import json
import re

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from persona_align.models import ChatTransformers
from tests.models.scripted import ScriptedModel
from tests.models.tiny import tiny_model, tiny_tokenizer

REPLIES = (
    ("magic_function_no_args()", "magic_function_no_args", {}),
    ("magic_function(3)", "magic_function", {"input": 3}),
    ("Pirate greeting", "greeting_generator", {"answer_style": "pirate"}),
    ("こんにちは", "unicode_customer", {"customer_name": "こんにちは株式会社", "description": "会社"}),
    ("你好", "unicode_customer", {"customer_name": "你好啊集团", "description": "科技公司"}),
    ("weather in San Francisco", "get_weather", {"location": "San Francisco, CA"}),
    ("3 + 4", "my_adder_tool", {"a": 3, "b": 4}),
)


def script(prompt: str) -> str:
    """What a capable model would reply to the suite's questions, with the tools that its prompt offers."""
    asked = prompt.rsplit("<|user|>", 1)[-1]
    offered = (
        re.findall(r'"name": "(\w+)"', prompt.split("<tools>")[1].split("</tools>")[0]) if "<tools>" in prompt else []
    )
    forced = re.search(r"Reply by calling the tool (\w+)", prompt)
    joke = {"setup": "Why do cats purr?", "punchline": "Their engine is on."}
    if "tool_response" in asked:
        return "That is the answer."
    for cue, name, args in REPLIES:
        if cue in asked and name in offered:
            return call(name, args)
    if "joke" in asked:
        return call(offered[0], joke) if offered else json.dumps(joke)
    if forced or "Reply by calling one of the tools" in prompt:
        return call(forced[1] if forced else offered[0], {"location": "here"})
    return "Hello, what can I do for you?"


def call(name: str, args: dict) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': args}, ensure_ascii=False)}</tool_call>"


class Tiny:
    """A random Llama: it replies, and cannot be expected to call tools."""

    @property
    def chat_model_class(self):
        return ChatTransformers

    @property
    def chat_model_params(self):
        return {"model": tiny_model(), "tokenizer": tiny_tokenizer(), "max_tokens": 24}

    @property
    def standard_chat_model_params(self):
        return {**super().standard_chat_model_params, "max_tokens": 24}

    @property
    def supports_model_override(self):
        return False  # the model lives in memory; no name can put another in its place


class Scripted(Tiny):
    """The same chat model over a model that follows a script."""

    @property
    def chat_model_params(self):
        tokenizer = tiny_tokenizer()
        return {"model": ScriptedModel(tokenizer, script), "tokenizer": tokenizer, "max_tokens": 300}

    @property
    def standard_chat_model_params(self):
        return {**super().standard_chat_model_params, "max_tokens": 300}


class TestUnit(Tiny, ChatModelUnitTests):
    @property
    def chat_model_params(self):
        return {"model": tiny_model(), "tokenizer": tiny_tokenizer()}

    @property
    def standard_chat_model_params(self):
        return ChatModelUnitTests.standard_chat_model_params.fget(self)


class TestRandomWeights(Tiny, ChatModelIntegrationTests):
    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False


class TestScripted(Scripted, ChatModelIntegrationTests):
    @property
    def supports_json_mode(self):
        return True


class TestScriptedFunctionCalling(Scripted, ChatModelIntegrationTests):
    """Only structured output, by way of a tool."""

    @property
    def structured_output_kwargs(self):
        return {"method": "function_calling"}
