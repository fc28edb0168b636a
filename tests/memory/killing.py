"""A memory whose process is killed again and again while it writes, forgets and re-embeds, and a check of what is left.

Run as `python -m tests.memory.killing FOLDER ROUNDS SEED`; prints one JSON object. The parent process never opens the
memory: each round it forks a child, which first reports what it finds, and then, one thread for each user, writes and
forgets until it is killed. In some rounds it re-embeds the whole folder instead.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import chromadb  # noqa: F401  # once, and not in every child
import numpy as np

import persona_align.memory.shard as shard_module
from persona_align.memory.entry import Entry
from persona_align.memory.reembed import reembed
from persona_align.memory.store import Memory
from persona_align.records import Turn

USERS = ("ada", "bob", "carol")
START = datetime(2025, 1, 1, tzinfo=UTC)
ENCODERS = {"kill-a": 1.0, "kill-b": -1.0}


def main(folder, rounds, seed):
    given = random.Random(seed)
    expected = {user: {} for user in USERS}
    in_flight = {}
    kinds = ("write", "forget", "reembed")
    counts = {"rounds": 0, "acknowledged": 0, "forgets": 0, "reembeds": 0, **{f"killed_in_a_{k}": 0 for k in kinds}}
    problems = []
    for round_ in range(rounds + 1):
        found, done, pending = one_life(folder, seed * 10_007 + round_, None if round_ == rounds else given)
        if found is None:
            problems.append(f"round {round_}: the memory did not open: {pending}")
            break
        problems += [f"round {round_}: {text}" for text in differences(expected, in_flight, found)]
        expected = {user: dict(records) for user, records in found.items()}
        for operation in done:
            apply(expected, operation)
            counts["acknowledged"] += len(operation.get("records", {}))
            counts["forgets"] += operation["kind"] == "forget"
            counts["reembeds"] += operation["kind"] == "reembed"
        in_flight = pending
        for operation in pending.values():
            counts[f"killed_in_a_{operation['kind']}"] += 1
        counts["rounds"] += round_ < rounds
    return {**counts, "problems": problems}


def one_life(folder, seed, given):
    """Fork a child, kill it at a random moment, and give what it found, what it finished, what each user had begun."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            live(folder, seed, writing, only_look=given is None)
        except BaseException as error:
            tell(writing, {"kind": "error", "text": told(error)})
        os._exit(0)
    os.close(writing)
    deadline = None
    lines = 0 if given is None else given.randint(1, 24)  # by then it has opened, and maybe written something
    data = b""
    os.set_blocking(reading, False)
    while True:
        try:
            part = os.read(reading, 1 << 16)
        except BlockingIOError:
            part = None
        if part == b"":
            break
        if part:
            data += part
            if deadline is None and given is not None and (data.count(b"\n") >= lines or b'"reembed"' in data):
                deadline = time.monotonic() + given.random() ** 3 * 0.4
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.0005)
    os.close(reading)
    os.waitpid(child, 0)
    lines = [json.loads(line) for line in data.decode().splitlines()]
    errors = [line["text"] for line in lines if line["kind"] == "error"]
    if errors or not lines:
        return None, [], errors
    pending, done = {}, []
    for line in lines[1:]:
        operation = line["operation"]
        if line["kind"] == "begin":
            pending[operation["user"]] = operation
        else:
            done.append(pending.pop(operation["user"]))
    return lines[0]["found"], done, pending


def live(folder, seed, writing, *, only_look):
    shard_module.MOST_ROWS = 3  # so that larger appends need several transactions
    given = random.Random(seed)
    made_with = finished(folder)
    with Memory.open(folder, **made_with) as memory:
        found = look(memory, ENCODERS[made_with["encoder"]])
        tell(writing, {"kind": "found", "found": found})
        if only_look:
            return
        if given.random() < 0.9 or not any(found.values()):
            threads = [
                Thread(target=use, args=(memory, user, found[user], random.Random(given.random()), writing, f"{seed}"))
                for user in USERS
            ]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
    operation = {"kind": "reembed", "user": ""}
    tell(writing, {"kind": "begin", "operation": operation})
    move(folder, *(name for name in ENCODERS if name != made_with["encoder"]))
    tell(writing, {"kind": "done", "operation": operation})


def finished(folder):
    """What the folder was made with, after a re-embedding that was killed is finished."""
    manifest = folder / "manifest.json"
    made = json.loads(manifest.read_text()) if manifest.exists() else {}
    if made.get("reembedding"):
        move(folder, made["reembedding"]["encoder"])
        made = json.loads(manifest.read_text())
    return {"encoder": made.get("encoder", "kill-a"), "dimension": 8, "space": "kill"}


def move(folder, encoder):
    reembed(folder, lambda records: [entry(r, ENCODERS[encoder]) for r in records], encoder=encoder, dimension=8)


def entry(record, sign):
    return Entry(record=record, embedding=np.full(8, sign * 8**-0.5, np.float32))


def look(memory, sign):
    found = {}
    for user in USERS:
        entries = memory.history(user).entries
        wrong = [kept.record.id for kept in entries if (np.sign(kept.embedding) != sign).any()]
        found[user] = {kept.record.id: kept.record.text for kept in entries}
        found[user].update({f"{key} embedding": "of another encoder" for key in wrong})
    return found


def use(memory, user, kept, given, writing, name):
    sign = ENCODERS[memory.backend.folder.manifest["encoder"]]
    number = 0
    try:
        while True:
            operation = choose(given, user, kept, f"{name}-{number}")
            number += 1
            tell(writing, {"kind": "begin", "operation": operation})
            perform(memory, operation, sign)
            apply({user: kept}, operation)
            tell(writing, {"kind": "done", "operation": operation})
    except BaseException as error:
        tell(writing, {"kind": "error", "text": told(error)})


def choose(given, user, kept, name):
    if given.random() < 0.75 or not kept:
        size = given.choice((1, 1, 1, 2, 7))
        keys = [f"{given.randrange(1000):03d}-{name}-{i}" for i in range(size)]
        return {"kind": "write", "user": user, "records": {key: f"{user} wrote {key}" for key in keys}}
    how = given.choice(({}, {"ids": given.sample(sorted(kept), 1)}, {"before": given.randrange(1000)}))
    return {"kind": "forget", "user": user, **how}


def perform(memory, operation, sign):
    user = operation["user"]
    if operation["kind"] == "forget":
        before = START + timedelta(hours=operation["before"]) if "before" in operation else None
        memory.forget(user, record_ids=operation.get("ids"), before=before)
    else:
        records = [
            Turn(role="user", text=text, id=key, at=START + timedelta(hours=int(key[:3])))
            for key, text in operation["records"].items()
        ]
        memory.append(user, [entry(record, sign) for record in records])


def apply(state, operation):
    kept = state.get(operation["user"], {})
    if operation["kind"] == "write":
        kept.update(operation["records"])
    elif operation["kind"] == "forget":
        bound = operation.get("before", 1000)
        for key in [key for key in operation.get("ids", list(kept)) if int(key[:3]) < bound]:
            kept.pop(key, None)


def differences(expected, in_flight, found):
    finished_ = {user: dict(records) for user, records in expected.items()}
    for operation in in_flight.values():
        apply(finished_, operation)
    for user in USERS:
        crossed = [text for text in found[user].values() if not text.startswith(f"{user} ")]
        if crossed:
            yield f"{user} has records of others: {crossed}"
        if found[user] not in (expected[user], finished_[user]):
            lost = set(expected[user]) & set(finished_[user]) - set(found[user])
            extra = set(found[user]) - set(expected[user]) - set(finished_[user])
            half = set(found[user]) ^ set(expected[user])
            yield f"{user}: lost {sorted(lost)}, unexpected {sorted(extra)}, half of {in_flight}: {sorted(half)}"


def told(error):
    return "".join(traceback.format_exception(error))


def tell(writing, message):
    os.write(writing, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
