"""The server over a real socket, with the official OpenAI client."""

import json
import threading

import httpx
import openai
import pytest

from persona_align import ChatTransformers, PersonaAligner, Turn
from persona_align.testing import EchoChat
from persona_align_server import Keys, create_app
from persona_align_server.serve import running
from tests.models.scripted import ScriptedModel
from tests.models.tiny import tiny_tokenizer

SHORT = Turn(role="user", text="Please keep your answers short and to the point, I hate long explanations.")
KEYS = {"key-of-ada": "ada", "key-of-ben": "ben", "service-key": "*"}


@pytest.fixture(scope="module")
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(aligner):
    with running(create_app(aligner, EchoChat(), keys=Keys(KEYS), model_name="echo", max_body=50_000)) as url:
        yield url


@pytest.fixture(autouse=True)
def ada(aligner):
    aligner.forget("ada")
    aligner.record("ada", SHORT)


def client(address, key="key-of-ada"):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)


def http(address, key="key-of-ada"):
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=30)


def ask(address, text="What shall I cook?", key="key-of-ada", **settings):
    with client(address, key) as opened:
        messages = [{"role": "user", "content": text}]
        reply = opened.chat.completions.create(model="echo", messages=messages, **settings)
        return list(reply) if settings.get("stream") else reply


def test_any_openai_client_becomes_personal(address):
    reply = ask(address, user="ada")
    assert "Concise communication style" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.persona["dimensions"]["conciseness"] > 0
    other = ask(address, key="service-key", user="somebody-new")
    assert other.choices[0].message.content == "What shall I cook?"


def test_streaming_gives_the_same_reply(address):
    chunks = ask(address, user="ada", stream=True, stream_options={"include_usage": True})
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask(address).choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_modes_and_recording_per_request(address, aligner):
    off = ask(address, extra_body={"persona": {"mode": "off", "record": False}})
    assert off.choices[0].message.content == "What shall I cook?"
    assert len(aligner.export("ada")["records"]) == 1
    shown = ask(address, extra_body={"persona": {"mode": "ica", "thread_id": "t9"}})
    assert SHORT.text in shown.choices[0].message.content
    assert aligner.export("ada")["records"][1]["thread_id"] == "t9"
    with pytest.raises(openai.BadRequestError, match="pba"):
        ask(address, extra_body={"persona": {"mode": "pas"}})


def test_models_and_health(address):
    with client(address) as opened:
        assert [model.id for model in opened.models.list()] == ["echo"]
    assert httpx.get(f"{address}/health").json()["status"] == "ok"


def test_nobody_reads_anothers_data(address):
    with pytest.raises(openai.PermissionDeniedError):
        ask(address, key="key-of-ben", user="ada")
    with pytest.raises(openai.AuthenticationError):
        ask(address, key="unknown-key", user="ada")
    for key, status in (("key-of-ben", 403), ("wrong", 401), (None, 401)):
        with http(address, key) as opened:
            for method, path, body in (
                ("GET", "preferences", None),
                ("GET", "explain/humor", None),
                ("GET", "export", None),
                ("POST", "forget", {}),
                ("POST", "correct", {"dimension": "humor", "value": 1}),
                ("POST", "feedback", {"prompt": "p", "chosen": "a", "rejected": "b"}),
            ):
                assert opened.request(method, f"/users/ada/{path}", json=body).status_code == status
    with http(address) as opened:
        assert opened.get("/users/ada/export").json()["records"]


def test_a_service_must_name_the_user(address):
    with pytest.raises(openai.BadRequestError, match="Name one in `user`"):
        ask(address, key="service-key")


def test_preferences_explain_correct_release(address):
    with http(address) as opened:
        reading = opened.get("/users/ada/preferences").json()["readings"][0]
        assert (reading["key"], reading["locked"]) == ("conciseness", False)
        (evidence,) = opened.get("/users/ada/explain/conciseness").json()
        assert evidence["texts"] == [SHORT.text]
        known = opened.post("/users/ada/correct", json={"dimension": "conciseness", "value": -1}).json()
        assert [(r["value"], r["locked"]) for r in known["readings"] if r["key"] == "conciseness"] == [(-1.0, True)]
        assert "Detailed communication style" in ask(address).choices[0].message.content
        known = opened.post("/users/ada/correct", json={"dimension": "conciseness"}).json()
        assert [r["value"] > 0 for r in known["readings"] if r["key"] == "conciseness"] == [True]
        assert opened.get("/users/ada/explain/nonsense").status_code == 404


def test_feedback_becomes_comparisons(address, aligner):
    with http(address) as opened:
        opened.post("/users/ada/feedback", json={"prompt": "Why?", "chosen": "Because.", "rejected": "Many reasons."})
        opened.post("/users/ada/feedback", json={"prompt": "Why?", "reply": "Dull.", "up": False, "other": "Fun!"})
    pairs = [(r["chosen"], r["rejected"]) for r in aligner.export("ada")["records"] if r["kind"] == "comparison"]
    assert sorted(pairs) == [("Because.", "Many reasons."), ("Fun!", "Dull.")]


def test_forget_with_a_receipt(address, aligner):
    with http(address) as opened:
        receipt = opened.post("/users/ada/forget", json={}).json()
        assert receipt
        assert opened.get("/users/ada/export").json()["records"] == []
    assert aligner.preferences("ada").top() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{not json", 422),
        (json.dumps({"messages": []}), 422),
        (json.dumps({"messages": [{"role": "robot", "content": "x"}]}), 422),
        (json.dumps({"messages": [{"role": "user", "content": "x"}], "temperature": 99}), 422),
        (json.dumps({"messages": [{"role": "user", "content": "x" * 60_000}]}), 413),
        (json.dumps({"messages": [{"role": "user", "content": "a\x00b"}]}), 400),
    ],
)
def test_bad_bodies_get_a_clear_error(address, body, status):
    with http(address) as opened:
        answer = opened.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_what_the_framework_refuses_is_told_in_the_same_form(address):
    with http(address) as opened:
        for answer in (
            opened.post("/v1/chat/completions", content=b"\xff\xfe", headers={"Content-Type": "application/json"}),
            opened.get("/v1/chat/completions"),
            opened.get("/no/such/path"),
        ):
            assert answer.status_code in (400, 404, 405, 422)
            assert answer.json()["error"]["message"]


def test_a_body_without_a_length_is_limited_too(address):
    with http(address) as opened:
        answer = opened.post("/v1/chat/completions", content=(b"x" * 1000 for _ in range(100)))
        assert answer.status_code == 413


def test_a_model_that_fails_is_a_502_and_records_no_reply(aligner):
    with running(create_app(aligner, EchoChat(fail=RuntimeError("secret detail")))) as url:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                ask(url, user="ada", stream=stream)
            assert caught.value.status_code == 502
            assert "secret detail" not in str(caught.value)
    assert "assistant" not in {record.get("role") for record in aligner.export("ada")["records"]}


def test_many_users_at_once_get_their_own_replies(address, aligner):
    users = [f"user{i}" for i in range(16)]
    for user in users[::2]:
        aligner.record(user, SHORT)
    replies = {}

    def work(user):
        replies[user] = ask(address, key="service-key", user=user).choices[0].message.content

    threads = [threading.Thread(target=work, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [("Concise" in replies[user]) for user in users] == [i % 2 == 0 for i in range(16)]


def test_the_page_comes_with_a_strict_policy(address):
    answer = httpx.get(address)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for asset in ("page.js", "page.css"):
        assert httpx.get(f"{address}/{asset}").status_code == 200
    for outside in ("http://", "https://", "//cdn"):
        assert outside not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_an_upstream_openai_server_becomes_personal(address, aligner):
    """Our own server stands in as the upstream: what it was sent, it echoes."""
    from langchain_openai import ChatOpenAI

    upstream = ChatOpenAI(base_url=f"{address}/v1", api_key="service-key", model="echo", max_retries=0,
                          extra_body={"user": "relay", "persona": {"mode": "off"}})  # fmt: skip
    with running(create_app(aligner, upstream)) as url:
        assert "Concise" in ask(url, user="ada").choices[0].message.content
        chunks = ask(url, user="ada", stream=True)
        assert "Concise" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


ADD = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
ADDING = '{"name": "add", "arguments": {"a": 1}}'


@pytest.fixture(scope="module")
def calling(aligner):
    """A local model that calls a tool where it is offered one, behind two servers: one is the other's upstream."""
    from langchain_openai import ChatOpenAI

    tokenizer = tiny_tokenizer()
    model = ScriptedModel(tokenizer, lambda prompt: f"<tool_call>{ADDING}</tool_call>" if "add" in prompt else "Hello")
    local = ChatTransformers(model=model, tokenizer=tokenizer)
    with running(create_app(aligner, local, mode="off")) as behind:
        upstream = ChatOpenAI(base_url=f"{behind}/v1", api_key="none", model="local", max_retries=0,
                              extra_body={"user": "relay"})  # fmt: skip
        with running(create_app(aligner, upstream)) as url:
            yield {"local": behind, "upstream": url}


@pytest.mark.parametrize("where", ["local", "upstream"])
@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "add"}}])
def test_tools_reach_the_model_and_its_calls_the_client(calling, where, choice):
    settings = {"user": "ada", "tools": [ADD], "tool_choice": choice}
    whole = ask(calling[where], "1 + 2?", **settings).choices[0]
    assert whole.finish_reason == "tool_calls"
    call = whole.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1})
    chunks = [chunk.choices[0] for chunk in ask(calling[where], "1 + 2?", stream=True, **settings) if chunk.choices]
    parts = [part for chunk in chunks for part in chunk.delta.tool_calls or ()]
    assert {part.index for part in parts} == {0}
    assert [part.function.name for part in parts if part.function.name] == ["add"]
    assert json.loads("".join(part.function.arguments for part in parts)) == {"a": 1}
    assert chunks[-1].finish_reason == "tool_calls"


def test_a_conversation_goes_on_after_a_tool(calling, aligner):
    called = {"id": "c1", "type": "function", "function": {"name": "multiply", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    with client(calling["upstream"]) as opened:
        reply = opened.chat.completions.create(model="local", messages=messages, user="ada")
    assert reply.choices[0].message.content == "Hello"
    assert [r.get("role") for r in aligner.export("ada")["records"]] == ["user", "assistant"]  # the first is SHORT


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": [{"type": "function"}]},
        {"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "subtract"}}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "poem"}},
    ],
)
def test_wrong_tools_and_formats_are_the_clients_mistake(calling, wrong):
    with pytest.raises(openai.UnprocessableEntityError):
        ask(calling["local"], user="ada", **wrong)


def test_a_wanted_format_reaches_the_model(calling):
    schema = {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"title": "add"}}}
    assert ask(calling["local"], "Hi", user="ada").choices[0].message.content == "Hello"
    told = ask(calling["local"], "Hi", user="ada", response_format=schema).choices[0].message.content
    assert ADDING in told
