"""Scrubbing the folder of a stopped server: what was deleted is gone, everything else is as it was."""

import chromadb
import pytest

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory.scrub import scrub
from persona_align.memory.store import Memory
from tests.memory.canary import scan
from tests.memory.entries import MADE_WITH, entry, same, vector
from tests.memory.test_erasure import SECRETS, VICTIM, add_victim, fill, needles


def test_after_a_forget_on_a_server_a_scrub_removes_the_rest(own_server):
    with Memory.open(own_server.url, **MADE_WITH) as memory:
        fill(memory, users=4, each=3)
        before = memory.history("user-1").entries
        add_victim(memory)
        memory.forget(VICTIM)
    with pytest.raises(StoreUnavailableError, match="Stop the Chroma server"):
        scrub(own_server.folder)
    own_server.stop()
    left = {name for _, name in scan(own_server.folder, needles())}
    assert f"3 {SECRETS[0][:12]} utf-8" in left  # as the receipt says
    assert scrub(own_server.folder) == 4 * 3 + 4  # records and users
    assert scan(own_server.folder, needles()) == {}
    assert not [path for path in own_server.folder.parent.iterdir() if path.name.endswith((".old", ".new"))]
    own_server.start()
    with Memory.open(own_server.url, **MADE_WITH) as memory:
        after = memory.history("user-1").entries
        assert len(before) == len(after) == 3
        assert all(same(one, other) for one, other in zip(before, after, strict=True))
        assert VICTIM not in set(memory.users())


def test_any_chroma_folder_keeps_its_documents_and_settings(tmp_path):
    client = chromadb.PersistentClient(str(tmp_path / "data"), settings=chromadb.Settings(anonymized_telemetry=False))
    mine = client.create_collection("mine", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
    mine.add(
        ids=["a", "b"], embeddings=[vector(1), vector(2)], documents=["one", "two"], metadatas=[{"k": 1}, {"k": 2}]
    )
    mine.delete(ids=["b"])
    client.close()
    assert scrub(tmp_path / "data") == 1
    client = chromadb.PersistentClient(str(tmp_path / "data"), settings=chromadb.Settings(anonymized_telemetry=False))
    mine = client.get_collection("mine", embedding_function=None)
    assert mine.get()["documents"] == ["one"]
    assert mine.configuration_json["hnsw"]["space"] == "cosine"
    client.close()


def test_other_folders_are_refused(tmp_path):
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        memory.append("ada", [entry("Hello")])
    with pytest.raises(IncompatibleStoreError, match="memory folder"):
        scrub(tmp_path / "memory")
    with pytest.raises(IncompatibleStoreError, match="no Chroma folder"):
        scrub(tmp_path)


@pytest.mark.parametrize("state", ["between", "after"])
def test_a_scrub_that_was_killed_is_finished_by_the_next(tmp_path, state):
    data = tmp_path / "data"
    client = chromadb.PersistentClient(str(data), settings=chromadb.Settings(anonymized_telemetry=False))
    client.create_collection("mine", embedding_function=None).add(ids=["a"], embeddings=[vector(1)])
    client.close()
    if state == "between":
        data.rename(tmp_path / "data.old")
        (tmp_path / "data.12345678.new").mkdir()
    else:
        (tmp_path / "data.old").mkdir()
    assert scrub(data) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_scrub_does_not_guess_which_folder_counts(tmp_path):
    for name in ("data", "data.old", "data.12345678.new"):
        (tmp_path / name).mkdir()
    with pytest.raises(StoreUnavailableError, match="holds the data"):
        scrub(tmp_path / "data")
    assert len(list(tmp_path.iterdir())) == 3
