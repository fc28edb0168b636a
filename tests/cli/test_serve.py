"""`serve`: the server as a command."""

import json
import threading

import httpx
import pytest
import uvicorn


@pytest.fixture
def asked(monkeypatch):
    """Instead of serving for ever, every server answers one request; what it answered."""
    found = []
    run = uvicorn.Server.run

    def once(self):
        def ask():
            while not self.started:
                pass
            at = f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"
            body = {"messages": [{"role": "user", "content": "Hello"}], "user": "ada", "max_tokens": 4}
            headers = {"Authorization": "Bearer key-of-ada"}
            found.append(httpx.post(f"{at}/v1/chat/completions", json=body, headers=headers, timeout=60))
            found.append(httpx.get(f"{at}/v1/models"))
            self.should_exit = True

        threading.Thread(target=ask, daemon=True).start()
        run(self)

    monkeypatch.setattr(uvicorn.Server, "run", once)
    return found


def test_it_serves_a_model_to_who_has_a_key(run, here, asked, model):
    (here / "keys.json").write_text(json.dumps({"key-of-ada": "ada", "key-of-app": "*"}))
    told = run("serve", "--model", model, "--keys", "keys.json", "--port", 0)
    reply, models = asked
    assert reply.status_code == 200
    assert models.status_code == 401
    assert "2 keys" in told.stderr
    exported = json.loads(run("export", "ada").stdout)
    assert exported["records"][0]["text"] == "Hello"


def test_without_keys_only_this_machine_is_served(run, model):
    assert "--keys" in run("serve", "--model", model, "--host", "0.0.0.0", code=1).stderr


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"key-of-ada": 1}', '{"k": "ada"}'])
def test_keys_that_cannot_be_read(run, here, model, text):
    (here / "keys.json").write_text(text)
    told = run("serve", "--model", model, "--keys", "keys.json", code=1).stderr
    assert "key-of-ada" in told.replace("\n", "")
    assert "no-file.json" in run("serve", "--keys", "no-file.json", code=1).stderr


def test_an_upstream_needs_the_name_of_its_model(run):
    assert "--model" in run("serve", "--upstream", "http://127.0.0.1:9/v1", code=1).stderr
