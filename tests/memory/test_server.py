"""A Chroma server: many workers, a server that stops and comes back, and one that never answers."""

import socket
import time
from threading import Thread

import pytest

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory import server as server_module
from persona_align.memory.commit import Lane
from persona_align.memory.store import Memory
from tests.memory.entries import MADE_WITH, entry, texts


def test_workers_see_each_others_writes(chroma_server, user):
    with Memory.open(chroma_server.url, **MADE_WITH) as one, Memory.open(chroma_server.url, **MADE_WITH) as two:
        one.append(user, [entry("first", id="1")])
        assert texts(two.history(user)) == ["first"]
        two.append(user, [entry("second", id="2")])
        one.append(user, [entry("again", id="1")])
        assert texts(one.history(user)) == texts(two.history(user)) == ["first", "second"]
        two.replace_numbers(user, {"1": ({}, "8")})
        assert one.history(user).entries[0].version == "8"
        two.forget(user)
        assert len(one.history(user)) == 0


def test_a_server_that_stops_and_comes_back(own_server, monkeypatch):
    monkeypatch.setattr(server_module, "_FIRST_PAUSE", 0.01)
    with Memory.open(own_server.url, **MADE_WITH) as memory:
        memory.append("ada", [entry("before", id="1")])
        own_server.stop()
        for call in (lambda: memory.append("ada", [entry("lost", id="2")]), lambda: memory.history("ada")):
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                call()
        own_server.start()
        memory.append("ada", [entry("after", id="3")])
        assert texts(memory.history("ada")) == ["before", "after"]


def test_a_short_outage_is_waited_out(own_server, monkeypatch):
    monkeypatch.setattr(server_module, "_ATTEMPTS", 40)
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.3)))
    with Memory.open(own_server.url, **MADE_WITH) as memory:
        memory.append("ada", [entry("before", id="1")])
        own_server.stop()
        writer = Thread(target=memory.append, args=("ada", [entry("meanwhile", id="2")]))
        writer.start()
        own_server.start()
        writer.join(60)
        assert texts(memory.history("ada")) == ["before", "meanwhile"]


def test_no_server_and_a_server_that_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match="chroma run"):
            Memory.open(f"http://127.0.0.1:{port}", **MADE_WITH)
        silent.listen()
        with pytest.raises(StoreUnavailableError, match="timed out"):
            Memory.open(f"http://127.0.0.1:{port}", **MADE_WITH)


@pytest.mark.parametrize("url", ["http://", "http://host/path", "http://host:99999"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(IncompatibleStoreError, match="host:port"):
        Memory.open(url, **MADE_WITH)


def test_writes_that_wait_are_put_together_and_too_many_are_held_back():
    groups, results = [], []

    def slow(group):
        groups.append(list(group))
        time.sleep(0.05)
        return [None] * len(group)

    lane = Lane(slow, len, group=8, waiting=20, patience=10)
    threads = [Thread(target=lane.submit, args=([i, i],)) for i in range(30)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(item[0] for group in groups for item in group) == list(range(30))
    assert max(len(group) for group in groups) == 4  # eight rows
    impatient = Lane(slow, len, group=8, waiting=4, patience=0.0)

    def submit(i):
        try:
            impatient.submit([i, i, i])
        except StoreUnavailableError as error:
            results.append(str(error))

    threads = [Thread(target=submit, args=(i,)) for i in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results
    assert all("does not keep up" in text for text in results)


def test_an_error_of_a_group_reaches_every_caller_and_the_next_group_is_written():
    failures = []

    def write(group):
        if "bad" in group:
            raise StoreUnavailableError("No.")
        return [None] * len(group)

    lane = Lane(write, len)
    for item in ("bad", "good"):
        try:
            lane.submit(item)
        except StoreUnavailableError as error:
            failures.append((item, str(error)))
    assert failures == [("bad", "No.")]
