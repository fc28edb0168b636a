"""Many users interleaved over every public call: each sees exactly what a memory of their own would show."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from persona_align.memory.store import Memory
from tests.memory.entries import MADE_WITH, entry
from tests.oracles.memory_reference import ReferenceMemory

USERS = ["ada", "Ada", "ada ", "../ada", "a'; --", "\u00e9", "e\u0301", "\u0430da", "x" * 10_000]
START = datetime(2025, 1, 1, tzinfo=UTC)


def colliding(monkeypatch):
    """All users in one shard, as if their hashes began alike."""
    from persona_align.memory import copying, embedded

    original = embedded.user_key
    for module in (copying, embedded):
        monkeypatch.setattr(module, "user_key", lambda user: "0" * 8 + original(user)[8:])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("collide", [False, True])
def test_no_call_of_one_user_touches_another(tmp_path, monkeypatch, seed, collide):
    if collide:
        colliding(monkeypatch)
    given, reference = random.Random(seed), ReferenceMemory()
    folder = tmp_path / "memory"
    memory = Memory.open(folder, **MADE_WITH)
    try:
        for _ in range(40):
            user = given.choice(USERS)
            call = given.choices(
                ["append", "history", "known", "replace", "forget", "some", "before", "reopen", "uncache"],
                [9, 5, 3, 3, 1, 1, 1, 1, 2],
            )[0]
            ids = [f"{given.randrange(12)}" for _ in range(given.randint(1, 4))]
            if call == "append":
                items = [(key, START + timedelta(days=given.randrange(5)), f"{user[:20]} {key}") for key in ids]
                assert memory.append(user, [entry(text, id=key, at=at) for key, at, text in items]) == ids
                reference.append(user, items)
            elif call == "known":
                assert memory.known(user, ids) == reference.known(user) & set(ids)
            elif call == "replace":
                memory.replace_numbers(user, {ids[0]: ({}, f"v{ids[0]}")})
                reference.replace(user, ids[0], f"v{ids[0]}")
            elif call == "forget":
                memory.forget(user)
                reference.forget(user)
            elif call == "some":
                memory.forget(user, record_ids=ids)
                reference.forget(user, record_ids=ids)
            elif call == "before":
                time = START + timedelta(days=given.randrange(6))
                memory.forget(user, before=time)
                reference.forget(user, before=time)
            elif call == "reopen":
                memory.close()
                memory = Memory.open(folder, **MADE_WITH)
            elif call == "uncache":
                memory._cache.clear()
            for other in USERS:
                assert seen(memory, other) == reference.history(other), (call, user, other)
        assert {user for user in memory.users() if seen(memory, user)} == reference.users()
    finally:
        memory.close()


def seen(memory, user):
    return [(kept.record.id, kept.record.text, kept.version) for kept in memory.history(user).entries]


@pytest.mark.parametrize("lopsided", [False, True])
def test_a_shard_that_grows_is_split_and_everybody_keeps_everything(tmp_path, monkeypatch, lopsided):
    monkeypatch.setattr(
        "persona_align.memory.embedded.Embedded.__init__.__kwdefaults__", {"split_at": 9, "open_bytes": 1}
    )
    with Memory.open(tmp_path / "memory", **MADE_WITH) as memory:
        users = ["heavy"] * 6 if lopsided else [f"user-{u % 40}" for u in range(60)]
        for i, user in enumerate(users):
            memory.append(user, [entry(f"{i} {k}", id=f"{i} {k}") for k in range(4)])
        shards = memory.backend.folder.manifest["shards"]
        assert (len(shards) > 16) if not lopsided else (len(shards) < 16)
        assert len(list(memory.backend.folder.shards.iterdir())) == len(shards)
        memory._cache.clear()
        for user in set(users):
            expected = {f"{i} {k}" for i, name in enumerate(users) if name == user for k in range(4)}
            assert {kept.record.text for kept in memory.history(user).entries} == expected
        assert set(memory.users()) == set(users)
        memory.forget(users[0])
        assert len(memory.history(users[0])) == 0
