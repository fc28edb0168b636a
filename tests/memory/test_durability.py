"""What is acknowledged is kept: kills, a full disk, damage, other processes, and folders that are not ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory.clock import Clock
from persona_align.memory.store import Memory
from tests.memory.canary import forms, scan
from tests.memory.entries import MADE_WITH, entry, same, texts, vector

ROOT = Path(__file__).resolve().parents[2]


def python(code, *arguments, **more):
    """Run a program in a process of its own; gives its last line as JSON."""
    program = f"import json, os, sys\nfrom tests.memory.entries import *\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kills(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.memory.killing", str(tmp_path / "memory"), "5", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert (result["rounds"], result["acknowledged"] > 0) == (5, True)


OPENING = """
from persona_align.memory.store import Memory
from persona_align.errors import PersonaAlignError
try:
    with Memory.open(sys.argv[1], **MADE_WITH) as memory:
        print(json.dumps({"users": list(memory.users())}))
except PersonaAlignError as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""


def test_a_second_process_is_refused_with_the_remedy_until_the_first_lets_go(tmp_path):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        memory.append("ada", [entry("Hello")])
        refused = python(OPENING, tmp_path / "memory")
        assert refused["error"] == "StoreUnavailableError"
        assert f"in use by process {os.getpid()}" in refused["text"]
        assert "chroma run" in refused["text"]
        with pytest.raises(StoreUnavailableError, match="already open in this process"):
            Memory.open(tmp_path / "memory", **MADE_WITH)
    assert python(OPENING, tmp_path / "memory") == {"users": ["ada"]}


def test_a_forked_child_is_refused_and_does_not_hang_or_harm(tmp_path):
    code = """
from persona_align.memory.store import Memory
from persona_align.errors import StoreUnavailableError
folder = sys.argv[1]
memory = Memory.open(folder, **MADE_WITH)
memory.append("ada", [entry("Hello")])
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    refusals = []
    calls = (
        lambda: memory.history("ada"),
        lambda: memory.append("ada", [entry("child")]),
        lambda: memory.forget("ada"),
        lambda: Memory.open(folder, **MADE_WITH),
    )
    for call in calls:
        try:
            call()
        except StoreUnavailableError as error:
            refusals.append(str(error))
    memory.close()
    os.write(writing, json.dumps(refusals).encode())
    os._exit(0)
os.waitpid(child, 0)
refusals = json.loads(os.read(reading, 100_000))
memory.append("ada", [entry("parent")])
print(json.dumps({"refusals": refusals, "texts": [e.record.text for e in memory.history("ada").entries]}))
memory.close()
"""
    result = python(code, tmp_path / "memory")
    assert ["before the process was forked" in text for text in result["refusals"]] == [True, True, True, False]
    assert "in use by" in result["refusals"][3]
    assert result["texts"] == ["Hello", "parent"]


@pytest.mark.slow
def test_a_full_disk_refuses_the_write_and_loses_nothing(tmp_path):
    code = """
import resource
from persona_align.memory.store import Memory
from persona_align.errors import StoreUnavailableError
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
with Memory.open(sys.argv[1], **MADE_WITH) as memory:
    memory.append("ada", [entry("first", id="first")])
    kept, refused = ["first"], []
    for limit in (500_000, 900_000):   # the kernel refuses to let a file grow: as if the disk were full
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for i in range(200):
            batch = [entry(f"{limit} {i} {k} " + "x" * 5000, id=f"{limit}-{i}-{k}") for k in range(20)]
            try:
                memory.append("ada", batch)
                kept += [given.record.id for given in batch]
            except StoreUnavailableError as error:
                refused.append([str(error), [given.record.id for given in batch]])
                break
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        memory.append("ada", [entry("room again", id=f"again-{limit}")])
        kept.append(f"again-{limit}")
print(json.dumps({"kept": kept, "refused": refused}))
"""
    result = python(code, tmp_path / "memory")
    assert len(result["refused"]) == 2
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        found = [kept.record.id for kept in memory.history("ada").entries]
    assert set(result["kept"]) <= set(found)
    for message, batch in result["refused"]:
        assert "disk space" in message
        assert len(set(batch) & set(found)) in (0, len(batch))  # wholly or not at all
    assert len(found) == len(set(found))


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give up its rights, so it must have them first")
def test_a_read_only_folder_says_so(tmp_path):
    Memory.open(tmp_path / "memory", **MADE_WITH).close()
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/tmp") and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    (tmp_path / "memory").chmod(0o555)
    code = f"from persona_align.memory.store import Memory\nos.seteuid(65534)\n{OPENING}"
    result = python(code, tmp_path / "memory")
    assert result["error"] == "StoreUnavailableError"
    assert "permissions" in result["text"]


def test_what_is_no_memory_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(IncompatibleStoreError, match="is a file"):
        Memory.open(tmp_path / "file", **MADE_WITH)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letters.txt").write_text("x")
    with pytest.raises(IncompatibleStoreError, match="letters"):
        Memory.open(tmp_path / "full", **MADE_WITH)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    with pytest.raises(IncompatibleStoreError, match="cannot be read"):
        Memory.open(tmp_path / "broken", **MADE_WITH)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "file", "full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("anywhere", ["folder", "server"], indirect=True)
def test_a_newer_format_or_another_encoder_is_refused_and_another_space_is_fine(anywhere, open_memory, user):
    with open_memory() as memory:
        memory.append(user, [entry("Hello")])
    with pytest.raises(IncompatibleStoreError, match="persona-align reembed"):
        open_memory(encoder="another")
    with pytest.raises(IncompatibleStoreError, match="persona-align reembed"):
        open_memory(dimension=17)
    with open_memory(space="another") as memory:
        assert texts(memory.history(user)) == ["Hello"]
    if isinstance(anywhere, Path):
        manifest = json.loads((anywhere / "manifest.json").read_text())
        assert manifest["space"] == "another"
        (anywhere / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
        with pytest.raises(IncompatibleStoreError, match="--upgrade"):
            open_memory()


def append_to(folder, user, numbers):
    with Memory.open(folder, **MADE_WITH) as memory:
        for start in range(numbers.start, numbers.stop, 100):
            memory.append(user, [entry(f"text {i}", id=f"{i}", seed=i) for i in range(start, start + 100)])


def half_a_map(index, before):
    written = (index / "index_metadata.pickle").read_bytes()
    (index / "index_metadata.pickle").write_bytes(written[: len(written) // 2])
    copy_back(index, before, "index_metadata.kept")


def an_old_map(index, before):
    copy_back(index, before, "index_metadata.pickle", "index_metadata.kept")


def half_of_the_vectors(index, before):
    an_old_map(index, before)
    known = (before / "data_level0.bin").stat().st_size
    os.truncate(index / "data_level0.bin", (known + (index / "data_level0.bin").stat().st_size) // 2)


def copy_back(index, before, *names):
    for name in names:
        if (before / name).exists():
            shutil.copy2(before / name, index / name)
        else:
            (index / name).unlink()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("how", [half_a_map, an_old_map, half_of_the_vectors])
def test_an_index_that_a_killed_process_wrote_in_part_costs_no_vector(tmp_path, how, first):
    """The database of an earlier moment and the index of a later one, as if it had been killed just then."""
    folder, before = tmp_path / "memory", tmp_path / "before"
    kept = 60 if first else 260
    with Memory.open(folder, **MADE_WITH) as memory:
        for i in range(kept):
            memory.append("ada", [entry(f"text {i}", id=f"{i}", seed=i)])
        shard = shard_of(memory, "ada").relative_to(folder)
    shutil.copytree(folder, before)
    append_to(folder, "ada", range(1000, 1200))
    for name in ("chroma.sqlite3", "chroma.sqlite3-wal", "chroma.sqlite3-shm"):
        copy_back(folder / shard, before / shard, *[name] * ((folder / shard / name).exists()))
    for index in (folder / shard).glob("*/"):
        if (index / "index_metadata.pickle").exists():
            how(index, before / shard / index.name)
    append_to(folder, "ada", range(2000, 2200))
    with Memory.open(folder, **MADE_WITH) as memory:
        found = {each.record.id: each.embedding.tobytes() for each in memory.history("ada").entries}
        assert found == {f"{i}": vector(i).tobytes() for i in (*range(kept), *range(2000, 2200))}
        assert not memory.recovered
        assert not memory.backend.folder.damaged()


def test_a_private_memory_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Memory.open(None, **MADE_WITH) as memory, Memory.open(None, **MADE_WITH) as other:
        memory.append("ada", [entry("Hello")])
        assert len(other.history("ada")) == 0
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_numbers_grow_although_the_clock_is_set_back(tmp_path):
    now = [5_000_000_000]
    bounds = []
    clock = Clock(reserve=bounds.append, now=lambda: now[0])
    given = [clock.tick(), clock.tick()]
    now[0] = 1_000
    given += [clock.tick(), clock.tick()]
    restarted = Clock(bounds[-1], reserve=bounds.append, now=lambda: now[0])
    given += [restarted.tick(), restarted.tick()]
    assert given == sorted(set(given))
    assert bounds == sorted(bounds)


def test_undated_records_stay_in_order_although_the_clock_is_set_back(tmp_path, monkeypatch):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        memory.append("ada", [entry("one")])
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000)
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        memory._clock._now = lambda: 1_000_000
        memory.append("ada", [entry("two")])
        memory.append("ada", [entry("three")])
        assert texts(memory.history("ada")) == ["one", "two", "three"]


def shard_of(memory, user):
    backend = memory.backend
    return backend.folder.shards / backend.folder.manifest["shards"][backend.locate(user)]


def damaged(tmp_path, how):
    folder = tmp_path / "memory"
    with Memory.open(folder, **MADE_WITH) as memory:
        kept = [entry(f"text {i} " + "x" * 400, id=f"{i}", seed=i) for i in range(1500)]
        memory.append("ada", kept)
        memory.append("bob", [entry("Mine.")])
        shard = shard_of(memory, "ada")
        assert shard != shard_of(memory, "bob")
    how(shard)
    return folder, kept


def lose_the_index(shard):
    for path in shard.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def break_the_header(shard):
    with (shard / "chroma.sqlite3").open("r+b") as file:
        file.write(b"\x00" * 4096)


def break_pages(shard):
    with (shard / "chroma.sqlite3").open("r+b") as file:
        size = (shard / "chroma.sqlite3").stat().st_size
        for page in range(60, size // 4096 - 5, 23):
            file.seek(page * 4096)
            file.write(os.urandom(2048))


def lose_the_folder(shard):
    shutil.rmtree(shard)


@pytest.mark.parametrize(
    ("how", "least"), [(lose_the_index, 1500), (break_pages, 300), (break_the_header, 0), (lose_the_folder, 0)]
)
def test_of_a_damaged_shard_what_can_be_read_is_recovered_and_told(tmp_path, caplog, how, least):
    folder, kept = damaged(tmp_path, how)
    by_id = {given.record.id: given for given in kept}
    with Memory.open(folder, **MADE_WITH) as memory:
        found = memory.history("ada").entries
        assert len(found) >= least
        assert texts(memory.history("bob")) == ["Mine."]
        for entry_ in found:
            given = by_id[entry_.record.id]
            assert entry_.record.text == given.record.text
            assert not entry_.embedding.any() or entry_.embedding.tobytes() == given.embedding.tobytes()
        if how is not break_pages or memory.recovered:
            assert memory.recovered[0].records == len(found)
            assert f"{len(found)} records were recovered" in caplog.text
        memory.append("ada", [entry("and on")])
        assert texts(memory.history("ada"))[-1] == "and on"
        memory.forget("ada")
        assert scan(folder, forms(["text 7 xxxx"])) == {}
    with Memory.open(folder, **MADE_WITH) as memory:
        assert len(memory.history("ada")) == 0
        assert same(memory.history("bob").entries[0], memory.history("bob").entries[0])
        assert not memory.recovered
