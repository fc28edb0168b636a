"""Memory through its public calls, in a folder, in private and on a Chroma server."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import numpy as np
import pytest

from persona_align.errors import IncompatibleStoreError, InvalidRecordError, MissingUserError, StoreUnavailableError
from persona_align.memory.entry import Entry
from persona_align.memory.store import Memory
from persona_align.records import Comparison, Correction, Description
from tests.memory.entries import DIMENSION, MADE_WITH, entry, same, texts, vector

LOOKALIKES = [
    "ada",
    "Ada",
    "ada ",
    " ada",
    "\u0430da",  # Cyrillic
    "\u00e9",
    "e\u0301",
    "../ada",
    "..",
    "/etc/passwd",
    "a'b",
    'a"b',
    "'; DROP TABLE embeddings; --",
    "$and",
    "{}",
    "%",
    "*",
    "ada\u200b",
    "ada\n",
    "\u00df",
    "ss",
    "\U0001f600",
    "x" * 10_000,
    "x" * 9_999 + "y",
]


def test_every_kind_of_record_comes_back_bit_for_bit(open_memory, user):
    kept = [
        entry("One.", seed=1, thread_id="t"),
        Entry(record=Comparison(prompt="Why?", chosen="So.", rejected="Because."), embedding=vector(2)),
        Entry(record=Description(text="Likes tea."), embedding=vector(3), numbers={"flag": np.array(True)}),
        Entry(record=Correction(dimension="humor", value=0.8), embedding=np.zeros(DIMENSION, np.float32)),
        entry("\U0001f600 «ünï» 'quotes' \"double\" \n\t{}", seed=5, role="assistant"),
    ]
    with open_memory() as memory:
        ids = memory.append(user, kept)
        assert ids == [given.record.id for given in kept]
        memory._cache.clear()
        history = memory.history(user)
    assert [found.record.id for found in history.entries] == ids
    for found, given in zip(history.entries, kept, strict=True):
        assert found.record.at is not None
        assert same(found, Entry(**{**_fields(given), "record": given.record.dated(found.record.at)}))
    assert history.embeddings.tobytes() == np.stack([given.embedding for given in kept]).tobytes()
    assert not history.embeddings.flags.writeable


def _fields(given):
    return {"embedding": given.embedding, "numbers": given.numbers, "version": given.version}


def test_order_is_by_time_then_by_arrival(open_memory, user):
    noon = datetime(2025, 1, 1, 12, tzinfo=UTC)
    with open_memory() as memory:
        memory.append(user, [entry("late", at=noon + timedelta(hours=1)), entry("noon 1", at=noon)])
        assert texts(memory.history(user)) == ["noon 1", "late"]
        memory.append(user, [entry("noon 2", at=noon), entry("early", at=noon - timedelta(days=1)), entry("undated")])
        expected = ["early", "noon 1", "noon 2", "late", "undated"]
        assert texts(memory.history(user)) == expected
        memory._cache.clear()
        assert texts(memory.history(user)) == expected


def test_the_same_record_twice_is_one_record(open_memory, user):
    first, again = entry("Hello", id="r1", seed=1), entry("Hello, changed", id="r1", seed=2)
    with open_memory() as memory:
        assert memory.append(user, [first, first]) == ["r1", "r1"]
        memory.append(user, [again])
        for _ in range(2):
            history = memory.history(user)
            assert texts(history) == ["Hello"]
            assert history.entries[0].embedding.tobytes() == first.embedding.tobytes()
            memory._cache.clear()
        assert memory.known(user, ["r1", "r2"]) == {"r1"}
        assert memory.known(user + "other", ["r1"]) == set()


def test_the_same_record_id_of_two_users_is_two_records(open_memory, user):
    with open_memory() as memory:
        memory.append(user + "a", [entry("mine", id="r1")])
        memory.append(user + "b", [entry("yours", id="r1")])
        memory._cache.clear()
        assert (texts(memory.history(user + "a")), texts(memory.history(user + "b"))) == (["mine"], ["yours"])


def test_hostile_and_lookalike_ids_are_separate(open_memory):
    with open_memory() as memory:
        for i, name in enumerate(LOOKALIKES):
            memory.append(name, [entry(f"text {i}", seed=i)])
        memory._cache.clear()
        for i, name in enumerate(LOOKALIKES):
            assert texts(memory.history(name)) == [f"text {i}"], name
        assert set(memory.users()) >= set(LOOKALIKES)
        assert len(list(memory.users())) == len(set(memory.users()))


@pytest.mark.parametrize("missing", [None, "", "  \n\t", 7, b"ada"])
def test_no_call_without_a_user(tmp_path, missing):
    calls = [
        lambda memory: memory.append(missing, [entry("x")]),
        lambda memory: memory.known(missing, ["x"]),
        lambda memory: memory.history(missing),
        lambda memory: memory.revision(missing),
        lambda memory: memory.replace_numbers(missing, {}),
    ]
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        for call in calls:
            with pytest.raises(MissingUserError):
                call(memory)
        assert not list((tmp_path / "memory" / "shards").iterdir())


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800b"])
def test_a_user_id_that_cannot_be_stored_is_refused(name):
    with Memory.open(None, **MADE_WITH) as memory, pytest.raises(InvalidRecordError, match="cannot be stored"):
        memory.append(name, [entry("x")])


def test_an_unknown_user_has_nothing(open_memory, user):
    with open_memory() as memory:
        history = memory.history(user)
        assert (history.entries, history.embeddings.shape) == ((), (0, DIMENSION))
        assert memory.known(user, ["x"]) == set()
        memory.replace_numbers(user, {"x": ({}, "2")})
        assert len(memory.history(user)) == 0


def test_the_revision_changes_with_every_write_to_that_user_alone(open_memory, user):
    with open_memory() as memory:
        seen = [memory.revision(user), memory.history(user).revision]
        assert seen[0] == seen[1]
        other = memory.revision(user + "other")
        memory.append(user, [entry("one", id="1")])
        seen.append(memory.revision(user))
        memory.append(user, [entry("two")])
        seen.append(memory.revision(user))
        memory.replace_numbers(user, {"1": ({"new": np.ones(2)}, "2")})
        seen.append(memory.revision(user))
        assert len(set(seen)) == 4
        assert memory.history(user).revision == seen[-1]
        assert memory.revision(user + "other") == other


def test_numbers_can_be_replaced(open_memory, user):
    with open_memory() as memory:
        memory.append(user, [entry("one", id="1"), entry("two", id="2")])
        memory.replace_numbers(user, {"1": ({"new": np.arange(3.0)}, "7"), "unknown": ({}, "7")})
        one, two = memory.history(user).entries
        assert (one.version, two.version, list(one.numbers)) == ("7", "1", ["new"])
        assert one.numbers["new"].tobytes() == np.arange(3.0).tobytes()
        assert one.embedding.tobytes() == entry("one").embedding.tobytes()


def test_an_embedding_of_another_length_is_refused_before_anything_is_written(open_memory, user):
    wrong = Entry(record=Description(text="x"), embedding=vector(0, DIMENSION + 1))
    with open_memory() as memory:
        with pytest.raises(InvalidRecordError, match="shape"):
            memory.append(user, [entry("fine"), wrong])
        assert len(memory.history(user)) == 0


@pytest.mark.parametrize("bad", [np.full(DIMENSION, np.nan), np.zeros((1, DIMENSION)), np.float32(0)])
def test_an_embedding_that_is_no_finite_vector_is_refused(bad):
    with pytest.raises(InvalidRecordError, match="finite vector"):
        Entry(record=Description(text="x"), embedding=bad)


def test_an_entry_does_not_change_with_the_callers_arrays():
    embedding, evidence = vector(0), np.ones(3)
    kept = Entry(record=Description(text="x"), embedding=embedding, numbers={"evidence": evidence})
    embedding[:], evidence[:] = 0, 0
    assert kept.embedding.any()
    assert kept.numbers["evidence"].all()
    with pytest.raises(ValueError, match="read-only"):
        kept.embedding[0] = 1


def test_what_a_caller_holds_does_not_change_when_more_is_written(open_memory, user):
    with open_memory() as memory:
        memory.append(user, [entry(f"{i}", seed=i) for i in range(5)])
        before = memory.history(user)
        embeddings = before.embeddings.copy()
        memory.append(user, [entry("early", at=datetime(2000, 1, 1, tzinfo=UTC), seed=9)])
        memory.append(user, [entry(f"{i}", seed=i) for i in range(10, 40)])
        after = memory.history(user)
        assert (len(before), len(after)) == (5, 36)
        assert np.array_equal(before.embeddings, embeddings)
        assert np.array_equal(after.embeddings, np.stack([found.embedding for found in after.entries]))


def test_eight_threads_on_one_memory(open_memory, user):
    def work(memory, k, failures):
        try:
            for i in range(6):
                memory.append(f"{user}{k}", [entry(f"{k} {i}", id=f"{i}")])
                memory.append(f"{user}shared", [entry(f"shared {i}", id=f"{i}")])
                assert texts(memory.history(f"{user}{k}")) == [f"{k} {j}" for j in range(i + 1)]
                assert len(memory.history(f"{user}shared")) >= i + 1
        except BaseException as error:
            failures.append(error)

    with open_memory() as memory:
        failures = []
        threads = [Thread(target=work, args=(memory, k, failures)) for k in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not failures
        memory._cache.clear()
        assert sorted(texts(memory.history(f"{user}shared"))) == [f"shared {i}" for i in range(6)]
        for k in range(8):
            assert texts(memory.history(f"{user}{k}")) == [f"{k} {i}" for i in range(6)]


def test_a_batch_larger_than_one_transaction(open_memory, user):
    many = [entry(f"{i}", id=f"{i}", seed=i % 5) for i in range(4500)]
    with open_memory() as memory:
        memory.append(user, many)
        memory.append(user, many[:10])
        memory._cache.clear()
        assert texts(memory.history(user)) == [f"{i}" for i in range(4500)]


def test_retention_and_a_cap_hide_what_is_too_old_or_too_much(open_memory, user):
    now = datetime.now(UTC)
    aged = [entry(f"{days}", at=now - timedelta(days=days)) for days in (40, 20, 5, 1)]
    with open_memory(retention=timedelta(days=30), max_records=2) as memory:
        memory.append(user, aged[:2])
        assert texts(memory.history(user)) == ["20"]
        memory.append(user, aged[2:])
        assert texts(memory.history(user)) == ["5", "1"]
        assert memory.history(user).embeddings.shape == (2, DIMENSION)


@pytest.mark.parametrize("limits", [{"retention": timedelta(0)}, {"max_records": 0}])
def test_limits_that_would_keep_nothing_are_refused(limits):
    with pytest.raises(IncompatibleStoreError, match="Nothing could be kept"):
        Memory.open(None, **MADE_WITH, **limits)


def test_a_closed_memory_says_so(open_memory, user):
    memory = open_memory()
    memory.close()
    memory.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        memory.history(user)
