"""Re-embedding a folder for another encoder, also when it is killed half-way."""

import pytest

from persona_align.errors import IncompatibleStoreError, InvalidRecordError
from persona_align.memory.entry import Entry
from persona_align.memory.reembed import reembed
from persona_align.memory.store import Memory
from tests.memory.entries import MADE_WITH, entry, texts, vector

NEW = {"encoder": "new", "dimension": 5}
USERS = ("ada", "bob", "carol", "dave")


def encode(records):
    return [
        Entry(record=r, embedding=vector(len(r.texts[0]), 5), numbers={"new": vector(1)}, version="9") for r in records
    ]


@pytest.fixture
def folder(tmp_path):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        for user in USERS:
            memory.append(user, [entry(f"{user} {'x' * i}", id=f"{i}") for i in range(5)])
    return tmp_path / "memory"


def check(folder):
    with Memory.open(folder, **NEW, space="other") as memory:
        for user in USERS:
            history = memory.history(user)
            assert texts(history) == [f"{user} {'x' * i}" for i in range(5)]
            for found in history.entries:
                assert found.embedding.tobytes() == vector(len(found.record.text), 5).tobytes()
                assert (found.version, list(found.numbers)) == ("9", ["new"])


def test_a_folder_moves_to_another_encoder(folder):
    seen = []
    assert reembed(folder, encode, **NEW, space="other", progress=lambda *at: seen.append(at)) == 20
    assert seen[-1] == (20, 20)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    check(folder)
    with pytest.raises(IncompatibleStoreError, match="made with the encoder new"):
        Memory.open(folder, **MADE_WITH)


def test_a_run_that_stops_half_way_goes_on_where_it_stopped(folder):
    encoded = []

    def failing(records):
        if len(encoded) >= 5:
            raise KeyboardInterrupt
        encoded.extend(records)
        return encode(records)

    with pytest.raises(KeyboardInterrupt):
        reembed(folder, failing, **NEW)
    for made_with in (MADE_WITH, {**NEW, "space": "test-space"}):
        with pytest.raises(IncompatibleStoreError, match="not finished"):
            Memory.open(folder, **made_with)
    again = []
    reembed(folder, lambda records: (again.extend(records), encode(records))[1], **NEW, space="other")
    assert len(encoded) + len(again) == 20
    check(folder)


def test_another_goal_starts_anew(folder):
    calls = []

    def failing(records):
        calls.append(records)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [Entry(record=r, embedding=vector(0, 3)) for r in records]

    with pytest.raises(KeyboardInterrupt):
        reembed(folder, failing, encoder="third", dimension=3)
    reembed(folder, encode, **NEW, space="other")
    check(folder)


@pytest.mark.parametrize("wrong", [lambda records: [], lambda records: [entry(r.text) for r in records]])
def test_an_encoder_that_gives_something_else_changes_nothing(folder, wrong):
    with pytest.raises(InvalidRecordError):
        reembed(folder, wrong, **NEW)
    reembed(folder, encode, **NEW, space="other")
    check(folder)


def test_what_is_no_folder_of_a_memory_is_refused(tmp_path):
    with pytest.raises(IncompatibleStoreError, match="is a server"):
        reembed("http://127.0.0.1:1", encode, **NEW)
    with pytest.raises(IncompatibleStoreError, match="holds no memory"):
        reembed(tmp_path, encode, **NEW)
