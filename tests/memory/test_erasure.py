"""Forgetting: no byte is left, nobody else is touched, and a kill at any step only delays it."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import numpy as np
import pytest

from persona_align.errors import InvalidRecordError, MissingUserError, StoreUnavailableError
from persona_align.memory.folder import Folder
from persona_align.memory.rows import row_id, user_key
from persona_align.memory.shard import Shard
from persona_align.memory.store import Memory
from tests.memory.canary import forms, scan
from tests.memory.entries import MADE_WITH, entry, same, texts, vector

VICTIM = "zanzibar-quokka-7341"
SECRETS = [f"the quokka number {i} of zanzibar hides {i * 7919}" for i in range(6)]
RECORD_ID = "quokka-record-id-5519"


def fill(memory, users=12, each=8):
    for u in range(users):
        memory.append(f"user-{u}", [entry(f"user {u} text {k}", seed=100 * u + k, id=f"{k}") for k in range(each)])


def add_victim(memory):
    kept = [entry(text, seed=50_000 + i, thread_id="quokka-thread") for i, text in enumerate(SECRETS)]
    memory.append(VICTIM, [*kept, entry("I live at quokka lane.", id=RECORD_ID, seed=60_000)])


def needles(ids=()):
    embeddings = [vector(50_000 + i) for i in range(len(SECRETS))]
    hashes = [user_key(VICTIM), row_id(VICTIM, RECORD_ID)]
    return forms([VICTIM, RECORD_ID, "quokka-thread", *SECRETS, *hashes, *ids], embeddings)


def everybody(memory):
    memory._cache.clear()
    return {user: memory.history(user).entries for user in memory.users()}


def unchanged(before, after):
    assert set(before) == set(after)
    for user, entries in before.items():
        assert len(entries) == len(after[user])
        assert all(same(one, other) for one, other in zip(entries, after[user], strict=True)), user


def test_no_byte_of_a_forgotten_user_is_left(tmp_path):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory)
        before = everybody(memory)
        add_victim(memory)
        ids = [kept.record.id for kept in memory.history(VICTIM).entries]
        wanted = needles(ids)
        found = {name for _, name in scan(folder, wanted)}
        assert {f"0 {VICTIM[:12]} utf-8", "embedding 0 raw <f4"} <= found  # the search does find what is there
        receipt = memory.forget(VICTIM)
        assert scan(folder, wanted) == {}
        assert (receipt.erased, receipt.remaining, receipt.complete) == (7, 0, True)
        assert any("0 found" in line for line in receipt.verified)
        assert any("checkpointer" in line for line in receipt.out_of_reach)
        assert receipt.to_json()["user_id"] == VICTIM
        assert len(memory.history(VICTIM)) == 0
        assert VICTIM not in memory._revisions
        unchanged(before, everybody(memory))
    assert scan(folder, wanted) == {}
    with Memory.open(folder, **MADE_WITH) as memory:
        unchanged(before, everybody(memory))
        memory.append(VICTIM, [entry("back again")])
        assert texts(memory.history(VICTIM)) == ["back again"]


def test_the_numbers_of_a_forgotten_user_are_gone(tmp_path):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory, users=3)
        memory.append(VICTIM, [entry("x", seed=60_000)])
        arrays = entry("x", seed=60_000).numbers
        packed = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
        wanted = {"numbers": base64.b64encode(packed)[:40]}
        assert scan(folder, wanted)
        memory.forget(VICTIM)
        assert not scan(folder, wanted)


def test_some_records_or_those_before_a_time(tmp_path):
    folder = tmp_path / "memory"
    noon = datetime(2025, 1, 1, tzinfo=UTC)
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory, users=4)
        secrets = [
            entry(text, seed=50_000 + i, id=f"s{i}", at=noon + timedelta(days=i)) for i, text in enumerate(SECRETS)
        ]
        memory.append(VICTIM, secrets)
        others = everybody(memory)
        del others[VICTIM]
        receipt = memory.forget(VICTIM, before=noon + timedelta(days=2))
        assert (receipt.erased, receipt.remaining) == (2, 4)
        receipt = memory.forget(VICTIM, record_ids=["s2", "unknown"])
        assert (receipt.erased, receipt.remaining) == (1, 3)
        receipt = memory.forget(VICTIM, record_ids=["s5", "s3"], before=noon + timedelta(days=4))
        assert (receipt.erased, receipt.remaining) == (1, 2)
        assert texts(memory.history(VICTIM)) == [SECRETS[4], SECRETS[5]]
        gone = forms(SECRETS[:4], [vector(50_000 + i) for i in range(4)])
        assert scan(folder, gone) == {}
        after = everybody(memory)
        assert [same(a, b) for a, b in zip(after.pop(VICTIM), secrets[4:], strict=True)] == [True, True]
        unchanged(others, after)
        assert memory.forget(VICTIM, record_ids=[]).erased == 0


@pytest.mark.parametrize("user_id", ["nobody", "user-1"])
def test_forgetting_nothing_says_so(tmp_path, user_id):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        fill(memory, users=3)
        receipt = memory.forget(user_id, record_ids=["unknown"])
        assert (receipt.erased, receipt.verified) == (0, ("None of these records is kept.",))
        assert memory.forget("nobody").verified == ("Nothing is kept about this user.",)


def test_bad_arguments_erase_nothing(open_memory, user):
    with open_memory() as memory:
        memory.append(user, [entry("stays")])
        for missing in (None, " "):
            with pytest.raises(MissingUserError):
                memory.forget(missing)
        with pytest.raises(InvalidRecordError, match="time zone"):
            memory.forget(user, before=datetime(2030, 1, 1))
        with pytest.raises(InvalidRecordError, match="list of ids"):
            memory.forget(user, record_ids="r1")
        assert texts(memory.history(user)) == ["stays"]


def test_others_write_and_read_while_somebody_is_forgotten(tmp_path):
    failures, stop = [], Event()

    def write(memory, k):
        i = 0
        try:
            while not stop.is_set() or i < 3:
                memory.append(f"writer-{k}", [entry(f"{k} {i}", id=f"{i}", seed=i)])
                i += 1
                assert len(memory.history(f"writer-{k}")) == i
                assert texts(memory.history("user-3"))[0] == "user 3 text 0"
        except BaseException as error:
            failures.append(error)

    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        fill(memory, users=5)
        threads = [Thread(target=write, args=(memory, k)) for k in range(4)]
        [thread.start() for thread in threads]
        for round_ in range(2):
            add_victim(memory)
            assert memory.forget(VICTIM).erased == 7, round_
        stop.set()
        [thread.join() for thread in threads]
        assert not failures
        memory._cache.clear()
        for k in range(4):
            written = texts(memory.history(f"writer-{k}"))
            assert written == [f"{k} {i}" for i in range(len(written))]
    assert scan(tmp_path / "memory", needles()) == {}


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def steps_of_a_forget():
    """Every place of a forget after which a process could be gone, as (object, name of what it calls)."""
    import persona_align.memory.embedded as embedded

    return [
        (Folder, "begin"),
        (embedded, "open_folder"),
        (embedded, "copy_shard"),
        (embedded, "sync_tree"),
        (Folder, "switch"),
        (embedded, "remove"),
        (Folder, "end"),
    ]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(7))
def test_a_forget_that_is_killed_at_any_step_is_finished_by_the_next_open(tmp_path, monkeypatch, step, when):
    owner, name = steps_of_a_forget()[step]
    original = getattr(owner, name)

    def killed(*args, **more):
        if when == "after":
            original(*args, **more)
        raise Killed

    folder = tmp_path / "memory"
    memory = Memory.open(folder, **MADE_WITH)
    fill(memory, users=4, each=3)
    before = everybody(memory)
    add_victim(memory)
    if name != "remove":  # what a killed process would not do any more
        monkeypatch.setattr("persona_align.memory.embedded.remove", lambda path: None)
    monkeypatch.setattr(owner, name, killed)
    monkeypatch.setattr("persona_align.memory.shard.Shard.delete", lambda self, ids: None)
    with pytest.raises(Killed):
        memory.forget(VICTIM)
    monkeypatch.undo()
    memory.close()
    begun = not (name == "begin" and when == "before")
    with Memory.open(folder, **MADE_WITH) as memory:
        assert len(memory.history(VICTIM)) == (0 if begun else 7)
        if begun:
            assert scan(folder, needles()) == {}
            assert not list((folder / "intents").iterdir())
        after = everybody(memory)
        after.pop(VICTIM, None)
        unchanged(before, after)
        assert len(list((folder / "shards").iterdir())) == len(memory.backend.folder.manifest["shards"])


def test_what_is_recorded_after_a_failed_forget_is_not_erased_by_finishing_it(tmp_path, monkeypatch):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        add_victim(memory)
        with monkeypatch.context() as patch:
            patch.setattr("persona_align.memory.embedded.sync_tree", _no_space)
            with pytest.raises(StoreUnavailableError, match="No space"):
                memory.forget(VICTIM)
        assert len(memory.history(VICTIM)) == 0  # out of sight already
        memory.append(VICTIM, [entry("I am back.", id=RECORD_ID)])
    with Memory.open(folder, **MADE_WITH) as memory:
        assert texts(memory.history(VICTIM)) == ["I am back."]
        assert list(memory.users()) == [VICTIM]
    assert scan(folder, forms(SECRETS)) == {}


def test_an_intent_that_another_thread_has_just_finished_stops_no_forget(tmp_path):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        memory.append("ada", [entry("Hello.")])
        (tmp_path / "memory" / "intents" / "write-x.json").symlink_to("gone")  # listed, but not there when it is read
        assert memory.forget("ada").erased == 1


def test_a_write_that_failed_half_way_leaves_nothing_of_a_user_who_is_forgotten_then(tmp_path, monkeypatch):
    folder = tmp_path / "memory"
    monkeypatch.setattr("persona_align.memory.shard.MOST_ROWS", 3)
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory, users=2, each=3)
        add, calls = Shard.add, []

        def fails(self, rows):
            calls.append(len(rows))
            if calls[-2:] == [3, 3]:
                raise StoreUnavailableError("No space left on device.")
            add(self, rows)

        with monkeypatch.context() as patch:
            patch.setattr(Shard, "add", fails)
            with pytest.raises(StoreUnavailableError):
                add_victim(memory)
        assert calls[-2:] == [3, 3]
        assert any((folder / "intents").iterdir())
        memory.forget(VICTIM)
        assert scan(folder, needles()) == {}
        assert not list((folder / "intents").iterdir())


@pytest.mark.parametrize("how", [{}, {"record_ids": [RECORD_ID]}, {"before": datetime(2030, 1, 1, tzinfo=UTC)}])
def test_what_was_put_aside_of_a_damaged_shard_goes_too_although_it_was_not_recovered(tmp_path, how):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        add_victim(memory)
        name = memory.backend.folder.manifest["shards"][memory.backend.locate(VICTIM)]
    with (folder / "shards" / name / "chroma.sqlite3").open("r+b") as file:
        file.write(bytes(4096))
    with Memory.open(folder, **MADE_WITH) as memory:
        assert len(memory.history(VICTIM)) == 0  # nothing could be recovered
        assert memory.recovered
        assert scan(folder / "damaged", needles())
        memory.forget(VICTIM, **how)
        assert scan(folder, needles()) == {}


def test_what_the_process_still_has_in_memory_does_not_reach_files_made_later(tmp_path):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        for _ in range(3):
            add_victim(memory)
            len(memory.history(VICTIM))
            memory.forget(VICTIM)
        fill(memory, users=64, each=3)
        memory.append("ada", [entry(f"{i}") for i in range(1000)])
        for data in folder.glob("shards/*/*/length.bin"):  # Chroma writes it from memory that was never cleared
            assert not any(data.read_bytes()), data
        assert scan(folder, needles()) == {}
    assert scan(folder, needles()) == {}


def test_what_the_process_still_has_in_memory_does_not_reach_files_that_are_opened_again_to_read(tmp_path):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory, users=24, each=3)  # so few that Chroma makes their indexes anew whenever it opens them
    for _ in range(3):
        with Memory.open(folder, **MADE_WITH) as memory:
            for user in [f"user-{u}" for u in range(24)]:
                assert len(memory.history(user)) == 3
                for header in folder.glob("shards/*/*/header.bin"):
                    *_, count, size = struct.unpack_from("<iQQQQ", header.read_bytes())
                    assert not any((header.parent / "data_level0.bin").read_bytes()[count * size :]), user


def _no_space(path):
    raise StoreUnavailableError("No space left on device.")


def test_a_sweep_erases_what_retention_and_the_cap_hide(tmp_path):
    folder, now = tmp_path / "memory", datetime.now(UTC)
    aged = [entry(text, seed=50_000 + i, at=now - timedelta(days=60 - i)) for i, text in enumerate(SECRETS)]
    with Memory.open(folder, **MADE_WITH) as memory:
        fill(memory, users=5)
        memory.append(VICTIM, [*aged[:3], entry("recent")])
        memory.append("stale", [entry("all of it is old", at=now - timedelta(days=90))])
        assert memory.sweep() == 0
    with Memory.open(folder, **MADE_WITH, retention=timedelta(days=30), max_records=6) as memory:
        assert memory.sweep() == 3 + 1 + 5 * 2
        assert memory.sweep() == 0
        assert "stale" not in set(memory.users())
        assert texts(memory.history(VICTIM)) == ["recent"]
        assert texts(memory.history("user-1")) == [f"user 1 text {k}" for k in range(2, 8)]
    assert scan(folder, forms([*SECRETS[:3], "all of it is old"])) == {}


def test_appending_far_beyond_the_cap_erases_the_surplus(tmp_path):
    with Memory.open(tmp_path / "memory", **MADE_WITH, max_records=5) as memory:
        for start in range(0, 150, 30):
            memory.append("ada", [entry(f"turn {i}", id=f"{i}") for i in range(start, start + 30)])
            assert texts(memory.history("ada")) == [f"turn {i}" for i in range(start + 25, start + 30)]
        assert len(memory.backend.ids("ada")) < 2 * 5 + 130
        assert memory.known("ada", ["0"]) == set()


def test_on_a_server_the_receipt_says_what_is_left_and_how_to_clear_it(chroma_server, user):
    with Memory.open(chroma_server.url, **MADE_WITH) as memory:
        memory.append(user, [entry(text, id=f"{i}") for i, text in enumerate(SECRETS)])
        memory.append(user + "other", [entry("stays")])
        partial = memory.forget(user, record_ids=["0"])
        assert (partial.erased, partial.remaining) == (1, 5)
        receipt = memory.forget(user)
        assert (receipt.erased, receipt.complete) == (5, False)
        assert "scrub" in receipt.out_of_reach[0]
        assert len(memory.history(user)) == 0
        assert user not in set(memory.users())
        assert texts(memory.history(user + "other")) == ["stays"]
