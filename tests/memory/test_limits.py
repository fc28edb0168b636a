"""The cap and retention: what is shown, what is erased, and the summary that stays of what the cap drops."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from persona_align.memory.entry import Entry
from persona_align.memory.reembed import reembed
from persona_align.memory.store import Memory
from persona_align.records import Correction, Summary
from tests.memory.canary import forms, scan
from tests.memory.entries import MADE_WITH, entry, texts, vector

START = datetime(2025, 1, 1, tzinfo=UTC)


def turns(first, last):
    return [entry(f"turn {i}", seed=i, id=f"t{i}", at=START + timedelta(hours=i)) for i in range(first, last)]


def locked(dimension, hour):
    record = Correction(dimension=dimension, value=1.0, id=f"{dimension}-{hour}", at=START + timedelta(hours=hour))
    return Entry(record=record, embedding=np.zeros(16, np.float32))


def count(dropped, kept):
    """A summary that adds up how many records it stands for."""
    records = [entry.record for entry in dropped]
    begins = [record.since if isinstance(record, Summary) else record.at for record in records]
    total = sum(record.records if isinstance(record, Summary) else 1 for record in records)
    summary = Summary(records=total, at=max(record.at for record in records), since=min(begins))
    numbers = {"summed": np.full((1, 3), total, np.float32)}
    return Entry(record=summary, embedding=np.zeros(16, np.float32), numbers=numbers)


def opened(folder, most=5, **more):
    memory = Memory.open(folder, **MADE_WITH, max_records=most, **more)
    memory.summarise = count
    return memory


def summaries(memory, user):
    return [kept.record for kept in memory.everything(user).entries if isinstance(kept.record, Summary)]


def test_what_is_beyond_the_cap_counts_in_full_until_a_summary_stands_for_it(tmp_path):
    with opened(tmp_path / "memory") as memory:
        memory.append("ada", turns(0, 12))
        history = memory.history("ada")
        assert texts(history) == [f"turn {i}" for i in range(7, 12)]
        assert [kept.record.text for kept in history.earlier] == [f"turn {i}" for i in range(7)]
        np.testing.assert_array_equal(history.embeddings, np.stack([vector(i) for i in range(7, 12)]))
        assert memory.history("ada") is history
        assert memory.sweep() == 7
        assert memory.sweep() == 0
        (left,) = memory.history("ada").earlier
        assert (left.record.records, left.record.since, left.record.at) == (7, START, START + timedelta(hours=6))
        assert texts(memory.history("ada")) == [f"turn {i}" for i in range(7, 12)]
        memory.append("ada", turns(12, 15))
        assert memory.sweep() == 3
        (left,) = memory.history("ada").earlier
        assert (left.record.records, left.numbers["summed"].tolist()) == (10, [[10.0] * 3])
    assert scan(tmp_path / "memory", forms(["turn 3", "turn 8"], [vector(3), vector(8)])) == {}
    with opened(tmp_path / "memory") as memory:
        assert [record.records for record in summaries(memory, "ada")] == [10]


def test_what_was_set_by_hand_and_holds_is_never_beyond_the_cap(tmp_path):
    with opened(tmp_path / "memory") as memory:
        memory.append("ada", [locked("humor", 0), locked("order", 1), *turns(2, 12), locked("order", 13)])
        shown = memory.history("ada")
        assert [kept.record.id for kept in shown.entries] == ["humor-0", "t8", "t9", "t10", "t11", "order-13"]
        assert not shown.embeddings[0].any()
        np.testing.assert_array_equal(shown.embeddings[1], vector(8))
        memory.sweep()
        assert [
            kept.record.id for kept in memory.everything("ada").entries if not isinstance(kept.record, Summary)
        ] == [kept.record.id for kept in shown.entries]


def test_a_summary_is_forgotten_with_its_user_or_with_the_oldest_record_behind_it(tmp_path):
    folder = tmp_path / "memory"
    with opened(folder) as memory:
        memory.append("ada", turns(0, 12))
        memory.sweep()
        (left,) = summaries(memory, "ada")
        receipt = memory.forget("ada", record_ids=["t3"])
        assert receipt.erased == 0
        assert left.id in receipt.out_of_reach[0]
        assert memory.forget("ada", before=START).erased == 0
        assert memory.forget("ada", before=START + timedelta(hours=1)).erased == 1  # part of it is older
        assert summaries(memory, "ada") == []
        memory.append("ada", turns(20, 30))
        memory.sweep()
        (left,) = summaries(memory, "ada")
        assert memory.forget("ada", record_ids=[left.id]).erased == 1
        memory.append("ada", turns(40, 50))
        memory.sweep()
        (left,) = summaries(memory, "ada")
        memory.forget("ada")
        assert memory.everything("ada").entries == ()
        assert scan(folder, forms([left.id])) == {}


@pytest.mark.parametrize("anywhere", ["server"], indirect=True)
def test_summaries_on_a_server(open_memory, user):
    with open_memory(max_records=5) as memory:
        memory.summarise = count
        memory.append(user, turns(0, 12))
        memory.history(user)
        assert memory._trim(user) == 7
        assert [record.records for record in summaries(memory, user)] == [7]
        assert texts(memory.history(user)) == [f"turn {i}" for i in range(7, 12)]


def test_with_retention_summaries_expire_as_their_records_would_have(tmp_path):
    now = datetime.now(UTC)
    days = [100, 90, 60, 55, 30, 25, 9, 8, 7, 6, 5]
    old = [entry(f"{day} days", id=f"{day}", at=now - timedelta(days=day)) for day in days]
    with opened(tmp_path / "memory") as memory:
        for start in range(0, len(old), 2):
            memory.append("ada", old[start : start + 2])
    with opened(tmp_path / "memory", retention=timedelta(days=80)) as memory:
        assert [kept.record.id for kept in memory.history("ada").earlier] == ["60", "55", "30", "25"]
        assert memory.sweep() == 6
        memory.append("ada", [entry("today", id="today", at=now)])
        assert memory.sweep() == 1
        assert [record.records for record in summaries(memory, "ada")] == [4, 1]
    with opened(tmp_path / "memory", retention=timedelta(days=40)) as memory:
        assert [kept.record.records for kept in memory.history("ada").earlier] == [1]
        memory.sweep()
        assert [record.records for record in summaries(memory, "ada")] == [1]


def test_reembedding_keeps_summaries(tmp_path):
    with opened(tmp_path / "memory") as memory:
        memory.append("ada", turns(0, 12))
        memory.sweep()

    def encode(records):
        return [Entry(record=record, embedding=np.ones(4, np.float32) / 2) for record in records]

    reembed(tmp_path / "memory", encode, encoder="other", dimension=4)
    with Memory.open(tmp_path / "memory", encoder="other", dimension=4, space="test-space") as memory:
        (left,) = memory.history("ada").earlier
        assert left.numbers["summed"].tolist() == [[7.0] * 3]
        assert len(memory.history("ada")) == 5
