"""ChatTransformers: what a call may say, and what comes back."""

import asyncio
import contextvars
import gc
import threading
import weakref

import numpy as np
import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import BaseModel, ValidationError
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, OPTConfig

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.models import ChatTransformers
from persona_align.models.prompts import PLAIN_TEMPLATE
from persona_align.steering import ActivationOffsets, SteeredModel
from tests.models.scripted import ScriptedModel
from tests.models.tiny import tiny_model, tiny_tokenizer
from tests.steering.helpers import random_offsets

QUESTION = "How do I cook rice?"


def whole(chunks):
    chunks = list(chunks)
    full = chunks[0]
    for chunk in chunks[1:]:
        full += chunk
    return full


class TestReply:
    def test_greedy_is_what_generate_writes(self, chat, hf_model, tokenizer):
        turns = [{"role": "user", "content": QUESTION}]
        inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        written = hf_model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        reply = chat.invoke(QUESTION)
        assert reply.content == tokenizer.decode(written, skip_special_tokens=True)
        read = inputs["input_ids"].shape[1]
        assert reply.usage_metadata == {"input_tokens": read, "output_tokens": 12, "total_tokens": read + 12}
        assert reply.response_metadata == {"model_name": "LlamaForCausalLM", "finish_reason": "length"}

    def test_streams_say_the_same_in_pieces(self, chat):
        chunks = list(chat.stream(QUESTION))
        reply = chat.invoke(QUESTION)
        assert len(chunks) > 3
        assert whole(chunks).content == reply.content
        assert [chunk.usage_metadata for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1].usage_metadata == reply.usage_metadata
        assert whole(chunks).response_metadata == reply.response_metadata

    async def test_async_says_the_same(self, chat):
        reply = chat.invoke(QUESTION)
        assert (await chat.ainvoke(QUESTION)).content == reply.content
        chunks = [chunk async for chunk in chat.astream(QUESTION)]
        assert (whole(chunks).content, whole(chunks).usage_metadata) == (reply.content, reply.usage_metadata)

    def test_an_end_token_is_counted_and_not_shown(self, tokenizer):
        chat = ChatTransformers(model=ScriptedModel(tokenizer, lambda _: "Rinse it."), tokenizer=tokenizer)
        reply = chat.invoke(QUESTION)
        assert (reply.content, reply.response_metadata["finish_reason"]) == ("Rinse it.", "stop")
        assert reply.usage_metadata["output_tokens"] == len(tokenizer("Rinse it.")["input_ids"]) + 1

    def test_nothing_in_the_model_changes(self, tokenizer):
        model = tiny_model()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        settings = model.generation_config.to_dict()
        messages = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
        copies = [message.model_copy(deep=True) for message in messages]
        chat = ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=4, temperature=1.0, seed=1)
        chat.invoke(messages)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert model.generation_config.to_dict() == settings
        assert messages == copies
        assert tokenizer.chat_template == tiny_tokenizer().chat_template


class TestSettings:
    def test_each_call_overrides_the_fields(self, chat):
        assert chat.invoke(QUESTION, max_tokens=3).usage_metadata["output_tokens"] == 3
        assert chat.bind(max_tokens=2).invoke(QUESTION).usage_metadata["output_tokens"] == 2
        assert whole(chat.stream(QUESTION, max_tokens=3)).usage_metadata["output_tokens"] == 3

    def test_a_seed_gives_the_same_reply_again(self, chat):
        first, again, other = (chat.invoke(QUESTION, temperature=1.0, seed=s).content for s in (5, 5, 6))
        assert first == again != other
        assert whole(chat.stream(QUESTION, temperature=1.0, seed=5)).content == first
        assert chat.invoke(QUESTION, temperature=1.0, seed=5, top_p=1e-6).content == chat.invoke(QUESTION).content

    def test_without_a_seed_torch_decides(self, chat):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            first = [chat.invoke(QUESTION, temperature=1.0).content for _ in range(3)]
            torch.manual_seed(1)
            assert [chat.invoke(QUESTION, temperature=1.0).content for _ in range(3)] == first
            assert len(set(first)) > 1

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_stop_text_ends_the_reply_and_is_cut_off(self, chat, streaming):
        text = chat.invoke(QUESTION).content
        stop = text[3:6]
        assert text.count(stop) == 1 or text.index(stop) == 3
        call = {"stop": ["never written", stop]}
        reply = whole(chat.stream(QUESTION, **call)) if streaming else chat.invoke(QUESTION, **call)
        assert reply.content == text[: text.index(stop)]
        assert reply.response_metadata["finish_reason"] == "stop"
        assert reply.usage_metadata["output_tokens"] < 12

    def test_a_stop_text_across_tokens_never_shows(self, tokenizer):
        model = ScriptedModel(tokenizer, lambda _: "One. Two. END OF REPLY and more")
        chat = ChatTransformers(model=model, tokenizer=tokenizer, stop=["END OF REPLY"])
        pieces = [chunk.content for chunk in chat.stream(QUESTION)]
        assert "".join(pieces) == "One. Two. " == chat.invoke(QUESTION).content

    @pytest.mark.parametrize(
        "call",
        [
            {"max_tokens": 0},
            {"max_tokens": 2.5},
            {"temperature": -0.1},
            {"temperature": float("nan")},
            {"top_p": 0},
            {"top_p": 1.1},
            {"seed": "x"},
            {"seed": 2**70},
            {"stop": [""]},
            {"response_format": {"type": "yaml"}},
        ],
    )
    def test_values_out_of_range_are_refused(self, chat, call):
        with pytest.raises(ValueError, match=next(iter(call)).split("_")[0]):
            chat.invoke(QUESTION, **call)

    @pytest.mark.parametrize("call", [{"max_new_tokens": 3}, {"top_k": 3}, {"ofsets": None}, {"model": "other"}])
    def test_unknown_keywords_are_refused(self, chat, call):
        with pytest.raises(TypeError, match=next(iter(call))):
            chat.invoke(QUESTION, **call)
        with pytest.raises(TypeError, match=next(iter(call))):
            list(chat.stream(QUESTION, **call))

    @pytest.mark.parametrize("field", [{"max_new_tokens": 3}, {"max_tokens": 0}, {"temperature": -1}, {"timeout": 0}])
    def test_the_constructor_is_as_strict(self, hf_model, tokenizer, field):
        with pytest.raises(ValidationError, match=next(iter(field))):
            ChatTransformers(model=hf_model, tokenizer=tokenizer, **field)

    def test_standard_fields(self, hf_model, tokenizer):
        chat = ChatTransformers(
            model=hf_model, tokenizer=tokenizer, timeout=60, max_retries=2, streaming=True, model_name="mine", stop=[]
        )
        reply = chat.invoke(QUESTION, max_tokens=3)
        assert (reply.response_metadata["model_name"], chat.timeout, chat.max_retries) == ("mine", 60, 2)
        assert chat._get_ls_params()["ls_model_name"] == "mine"

    def test_a_model_that_does_not_generate_is_refused(self, tokenizer):
        with pytest.raises(UnsupportedModelError, match="Linear"):
            ChatTransformers(model=torch.nn.Linear(2, 2), tokenizer=tokenizer)


class TestOffsets:
    def test_a_call_is_steered_alone(self, chat, users):
        plain = chat.invoke(QUESTION).content
        steered = [chat.invoke(QUESTION, offsets=user).content for user in users]
        assert len({plain, *steered}) == 5
        assert chat.invoke(QUESTION).content == plain
        assert whole(chat.stream(QUESTION, offsets=users[1])).content == steered[1]
        assert chat.bind(offsets=users[2]).invoke(QUESTION).content == steered[2]

    def test_rows_are_steered_each_for_itself(self, chat, users):
        questions = [QUESTION, "Hello", "Where does the cat sit, and what does the dog look at?", QUESTION]
        offsets = [users[0], None, users[1], users[2]]
        solo = [chat.invoke(q, offsets=o) for q, o in zip(questions, offsets, strict=True)]
        rows = chat.generate_rows(questions, offsets=offsets)
        assert [row.content for row in rows] == [reply.content for reply in solo]
        assert [row.usage_metadata for row in rows] == [reply.usage_metadata for reply in solo]

    def test_rows_may_each_have_their_settings(self, chat, users):
        rows = chat.generate_rows(
            [QUESTION] * 4,
            offsets=users[0],
            temperature=[0.0, 1.0, 1.0, 0.7],
            seed=[1, 2, 3, 4],
            max_tokens=[3, 12, 5, 12],
            stop=[[], ["zzz"], [], []],
        )
        assert [row.usage_metadata["output_tokens"] for row in rows] == [3, 12, 5, 12]
        alone = chat.invoke(QUESTION, offsets=users[0], temperature=1.0, seed=2, stop=["zzz"])
        assert rows[1].content == alone.content
        assert chat.generate_rows([QUESTION], stop=["zzz"])[0].content == chat.invoke(QUESTION).content
        assert chat.generate_rows([]) == []

    def test_a_list_of_another_length_is_refused(self, chat, users):
        with pytest.raises(ValueError, match="offsets has 1 entries for 2 rows"):
            chat.generate_rows([QUESTION] * 2, offsets=users[:1])

    def test_foreign_offsets_are_refused_before_anything_runs(self, chat, hf_model):
        shape = SteeredModel.of(hf_model).geometry.shape
        foreign = ActivationOffsets(np.ones(shape), fingerprint="another model")
        with pytest.raises(IncompatibleOffsetsError, match="another model"):
            chat.invoke(QUESTION, offsets=foreign)
        with pytest.raises(TypeError, match="offsets must be"):
            chat.invoke(QUESTION, offsets=np.ones(shape))

    def test_the_cache_keeps_users_apart(self, hf_model, tokenizer, users):
        chat = ChatTransformers(model=hf_model, tokenizer=tokenizer, max_tokens=12, cache=InMemoryCache())
        replies = [chat.invoke(QUESTION, offsets=user).content for user in (*users, None)]
        assert len(set(replies)) == 5
        assert [chat.invoke(QUESTION, offsets=user).content for user in (*users, None)] == replies

    def test_the_cache_keeps_models_and_settings_apart(self, hf_model, tokenizer):
        cache = InMemoryCache()
        chats = [
            ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=size, model_name="same", cache=cache)
            for model, size in ((hf_model, 6), (hf_model, 9), (tiny_model(seed=9), 9))
        ]
        assert len({chat.invoke(QUESTION).content for chat in chats}) == 3


class TestLangChain:
    def test_handlers_hear_each_piece(self, chat):
        class Ear(BaseCallbackHandler):
            def __init__(self):
                self.heard, self.ended = [], []

            def on_llm_new_token(self, token, **kwargs):
                self.heard.append(token)

            def on_llm_end(self, response, **kwargs):
                self.ended.append(response.generations[0][0].message.usage_metadata["output_tokens"])

        talkative = chat.model_copy(update={"streaming": True})
        for call in (lambda ear: list(chat.stream(QUESTION, ear)), lambda ear: talkative.invoke(QUESTION, ear)):
            ear = Ear()
            call({"callbacks": [ear]})
            assert "".join(ear.heard) == chat.invoke(QUESTION).content
            assert len(ear.heard) > 3
            assert ear.ended == [12]

    def test_tokens_are_counted_as_the_model_reads_them(self, chat, tokenizer):
        messages = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
        assert chat.get_num_tokens_from_messages(messages) == chat.invoke(messages).usage_metadata["input_tokens"]
        assert chat.get_num_tokens(QUESTION) == len(tokenizer(QUESTION)["input_ids"])

    def test_configurable_fields_keep_the_model(self, chat):
        flexible = chat.configurable_fields(max_tokens=ConfigurableField(id="max_tokens"))
        short = flexible.with_config(configurable={"max_tokens": 2})
        assert short.invoke(QUESTION).usage_metadata["output_tokens"] == 2
        assert len(list(short.stream(QUESTION))) > 1

    def test_in_a_chain(self, chat):
        chain = ChatPromptTemplate.from_messages([("user", "How do I cook {food}?")]) | chat | StrOutputParser()
        assert (
            "".join(chain.stream({"food": "rice"})) == chain.invoke({"food": "rice"}) == chat.invoke(QUESTION).content
        )

    async def test_events_stream_through_a_chain(self, chat):
        chain = RunnableLambda(lambda text: [HumanMessage(text)]) | chat
        events = [event async for event in chain.astream_events(QUESTION, version="v2")]
        pieces = [e["data"]["chunk"].content for e in events if e["event"] == "on_chat_model_stream"]
        assert "".join(pieces) == chat.invoke(QUESTION).content

    def test_batch_keeps_order_and_exceptions(self, chat):
        questions = ["a", "b", "", "d"]
        assert [r.content for r in chat.batch(questions)] == [chat.invoke(q).content for q in questions]
        broken = chat.batch(["a", [], "b"], return_exceptions=True)
        assert isinstance(broken[1], ValueError)
        assert broken[2].content == chat.invoke("b").content
        assert chat.batch([]) == []

    async def test_abatch(self, chat):
        questions = ["a", "b", "c"] * 12
        replies = await chat.abatch(questions)
        assert [reply.content for reply in replies] == [chat.invoke(q).content for q in questions]

    def test_repr_and_dump_leave_the_model_out(self, chat):
        assert "LlamaForCausalLM(" not in repr(chat)
        assert not {"model", "tokenizer"} & set(chat.model_dump())


class TestContext:
    async def test_context_variables_stay_with_their_request(self, chat):
        user = contextvars.ContextVar("user", default="nobody")
        seen = []

        async def ask(name):
            user.set(name)
            seen.extend([(name, user.get()) async for _ in chat.astream(QUESTION)])
            await chat.ainvoke(QUESTION)
            return user.get()

        names = [f"user{i}" for i in range(6)]
        assert await asyncio.gather(*map(ask, names)) == names
        assert all(name == found for name, found in seen)

    async def test_the_event_loop_stays_free(self, chat):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await chat.ainvoke(QUESTION, max_tokens=200)
        ticking.cancel()
        assert ticks > 50

    def test_two_loops_one_after_the_other(self, chat):
        replies = [asyncio.run(chat.ainvoke(QUESTION)).content for _ in range(2)]
        assert replies == [chat.invoke(QUESTION).content] * 2


class TestGone:
    """A client that goes away ends its reply."""

    @pytest.fixture
    def counted(self, tokenizer):
        """A chat whose model counts its steps, and would write for long."""
        model = tiny_model()
        steps = []
        model.register_forward_pre_hook(lambda *_: steps.append(1))
        model.generation_config.eos_token_id = None
        return ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=400), steps

    @staticmethod
    def settle():
        for thread in threading.enumerate():
            if thread.name == "persona-align-batcher":
                thread.join(20)
                assert not thread.is_alive()

    def test_a_stream_left_early(self, counted):
        chat, steps = counted
        for _ in chat.stream(QUESTION):
            break
        self.settle()
        assert len(steps) < 200

    async def test_an_async_stream_left_early(self, counted):
        chat, steps = counted
        stream = chat.astream(QUESTION)
        async for _ in stream:
            break
        await stream.aclose()
        await asyncio.to_thread(self.settle)
        assert len(steps) < 200

    async def test_a_cancelled_task(self, counted):
        chat, steps = counted
        task = asyncio.create_task(chat.ainvoke(QUESTION))
        while len(steps) < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(self.settle)
        assert len(steps) < 200

    @pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "rows"])
    def test_a_timeout(self, counted, how):
        chat, steps = counted
        chat = chat.model_copy(update={"timeout": 0.02})
        calls = {
            "invoke": lambda: chat.invoke(QUESTION),
            "stream": lambda: list(chat.stream(QUESTION)),
            "ainvoke": lambda: asyncio.run(chat.ainvoke(QUESTION)),
            "rows": lambda: chat.generate_rows([QUESTION] * 2),
        }
        with pytest.raises(TimeoutError, match=r"after 0.02 seconds"):
            calls[how]()
        self.settle()
        assert len(steps) < 300


class TestLimits:
    def test_a_reply_ends_with_the_context(self, tokenizer):
        chat = ChatTransformers(model=tiny_model(positions=32), tokenizer=tokenizer, max_tokens=100)
        reply = chat.invoke("Hello")
        assert reply.usage_metadata["total_tokens"] <= 32
        with pytest.raises(ContextOverflowError, match="32"):
            chat.invoke("Hello " * 40)

    @pytest.mark.parametrize("messages", [[], [HumanMessage("\ud800")]])
    def test_unreadable_messages(self, chat, messages):
        with pytest.raises(ValueError, match="messages"):
            chat.invoke(messages)


class TestModels:
    @pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neox"])
    def test_batches_of_other_architectures_equal_solo_replies(self, tokenizer, family):
        config = {
            "gpt2": lambda: GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4, n_positions=96),
            "opt": lambda: OPTConfig(
                vocab_size=400,
                hidden_size=32,
                ffn_dim=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=96,
                word_embed_proj_dim=32,
            ),
            "gpt_neox": lambda: GPTNeoXConfig(
                vocab_size=400,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=96,
            ),
        }[family]()
        config.initializer_range, config.eos_token_id, config.pad_token_id = 0.3, 1, 0
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config).eval()
        chat = ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=60)
        users = [None, *(random_offsets(SteeredModel.of(model), seed) for seed in range(3))]
        questions = ["Hi", "Hello " * 9, QUESTION, "How " * 15]
        rows = chat.generate_rows(questions, offsets=users)
        solo = [chat.invoke(q, offsets=o) for q, o in zip(questions, users, strict=True)]
        assert [row.content for row in rows] == [reply.content for reply in solo]
        assert rows[3].usage_metadata["total_tokens"] <= 96

    def test_a_model_that_cannot_be_steered_still_talks(self, tokenizer, users):
        chat = ChatTransformers(model=ScriptedModel(tokenizer, lambda _: "Hello."), tokenizer=tokenizer)
        assert chat.invoke("Hi").content == "Hello."
        with pytest.raises(UnsupportedModelError):
            chat.invoke("Hi", offsets=users[0])

    def test_a_model_is_freed_with_its_chat(self, tokenizer):
        model = tiny_model()
        chat = ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=3)
        chat.invoke("Hi", offsets=random_offsets(SteeredModel.of(model), 0))
        chat.batch(["a", "b"])
        gone = weakref.ref(model)
        del chat, model
        TestGone.settle()
        gc.collect()
        assert gone() is None


class TestTemplates:
    def test_without_a_template_a_plain_one_is_used(self, hf_model):
        bare = tiny_tokenizer(template=None)
        plain = tiny_tokenizer(template=PLAIN_TEMPLATE)
        messages = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello."), HumanMessage("Bye")]
        replies = [ChatTransformers(model=hf_model, tokenizer=t, max_tokens=8).invoke(messages) for t in (bare, plain)]
        assert replies[0].content == replies[1].content

    def test_a_base_model_does_not_write_the_users_next_turn(self):
        bare = tiny_tokenizer(template=None)
        seen = []

        class Base(ScriptedModel):
            def forward(self, input_ids, attention_mask=None, **kwargs):
                seen.append(self.tokenizer.decode(input_ids[0]))
                wanted = self.tokenizer(" Rinse it.\n\nUser: And then?")["input_ids"]
                logits = torch.zeros(*input_ids.shape, self.config.vocab_size)
                logits[0, -1, wanted[len(seen) - 1]] = 9.0
                return type("Out", (dict,), {"logits": logits})(logits=logits)

        chat = ChatTransformers(model=Base(bare, str), tokenizer=bare)
        assert chat.invoke("How do I cook rice?").content == " Rinse it."
        assert seen[0] == "User: How do I cook rice?\n\nAssistant:"


class TestStructured:
    class Person(BaseModel):
        """Record attributes of a person."""

        name: str
        age: int

    @pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
    def test_methods(self, tokenizer, method):
        written = '{"name": "Ada", "age": 36}'
        if method == "function_calling":
            written = f'<tool_call>{{"name": "Person", "arguments": {written}}}</tool_call>'
        elif method == "json_mode":
            written = f"```json\n{written}\n```"
        chat = ChatTransformers(model=ScriptedModel(tokenizer, lambda _: written), tokenizer=tokenizer)
        person = chat.with_structured_output(self.Person, method=method).invoke("Who?")
        assert person == self.Person(name="Ada", age=36)

    def test_what_cannot_be_read_is_kept_raw(self, tokenizer):
        chat = ChatTransformers(model=ScriptedModel(tokenizer, lambda _: "no idea"), tokenizer=tokenizer)
        found = chat.with_structured_output(self.Person, include_raw=True).invoke("Who?")
        assert found["parsed"] is None
        assert found["parsing_error"] is not None
        assert found["raw"].content == "no idea"

    def test_unknown_method(self, chat):
        with pytest.raises(ValueError, match="method"):
            chat.with_structured_output(self.Person, method="magic")


class TestFromPretrained:
    def test_round_trip(self, hf_model, tokenizer, chat, tmp_path):
        hf_model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        loaded = ChatTransformers.from_pretrained(str(tmp_path), device="cpu", max_tokens=12)
        assert loaded.invoke(QUESTION).content == chat.invoke(QUESTION).content
        assert loaded.model_name == str(tmp_path)
        assert not loaded.model.training
        double = ChatTransformers.from_pretrained(tmp_path, device="cpu", dtype=torch.float64, model_name="double")
        assert (double.model.dtype, double.model_name) == (torch.float64, "double")
