"""A memory whose process is killed again and again while it writes and forgets, and a check of what is left.

Run as `python -m tests.memory.killing FOLDER ROUNDS SEED`; prints one JSON object. The parent process never opens the
memory: each round it forks a child, which first reports what it finds and then writes until it is killed.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import persona_align.memory.shard as shard_module
from persona_align.memory.entry import Entry
from persona_align.memory.store import Memory
from persona_align.records import Turn

USERS = ("ada", "bob", "carol")
MADE_WITH = {"encoder": "kill", "dimension": 8, "space": "kill"}


def main(folder, rounds, seed):
    given = random.Random(seed)
    expected = {user: {} for user in USERS}
    in_flight = None
    counts = {"rounds": 0, "acknowledged": 0, "forgets": 0, "killed_in_a_write": 0, "killed_in_a_forget": 0}
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
        in_flight = pending
        if pending is not None:
            counts[f"killed_in_a_{pending['kind']}"] += 1
        counts["rounds"] += round_ < rounds
    return {**counts, "problems": problems}


def one_life(folder, seed, given):
    """Fork a child, kill it at a random moment, and give what it found, what it finished, what it had begun."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            live(folder, seed, writing, only_look=given is None)
        except BaseException as error:
            tell(writing, {"kind": "error", "text": repr(error)})
        os._exit(0)
    os.close(writing)
    deadline = None
    lines = 0 if given is None else given.randint(1, 16)  # by then it has opened, and maybe written something
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
            if deadline is None and given is not None and data.count(b"\n") >= lines:
                deadline = time.monotonic() + given.random() ** 3 * 0.3
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
    done = [line["operation"] for line in lines if line["kind"] == "done"]
    begun = [line["operation"] for line in lines if line["kind"] == "begin"]
    return lines[0]["found"], done, begun[len(done)] if len(begun) > len(done) else None


def live(folder, seed, writing, *, only_look):
    shard_module.MOST_ROWS = 3  # so that larger appends need several transactions
    given = random.Random(seed)
    with Memory.open(folder, **MADE_WITH) as memory:
        found = {
            user: {kept.record.id: kept.record.texts[0] for kept in memory.history(user).entries} for user in USERS
        }
        tell(writing, {"kind": "found", "found": found})
        number = 0
        while not only_look:
            operation = choose(given, found, f"{seed}-{number}")
            number += 1
            tell(writing, {"kind": "begin", "operation": operation})
            perform(memory, operation)
            apply(found, operation)
            tell(writing, {"kind": "done", "operation": operation})


def choose(given, state, name):
    user = given.choice(USERS)
    if given.random() < 0.75 or not state[user]:
        records = {f"{name}-{i}": f"{user} wrote {name}-{i}" for i in range(given.choice((1, 1, 1, 2, 7)))}
        return {"kind": "write", "user": user, "records": records}
    if given.random() < 0.5:
        return {"kind": "forget", "user": user, "ids": None}
    return {"kind": "forget", "user": user, "ids": given.sample(sorted(state[user]), 1)}


def perform(memory, operation):
    user = operation["user"]
    if operation["kind"] == "forget":
        memory.forget(user, record_ids=operation["ids"])
    else:
        embedding = np.full(8, 8**-0.5, np.float32)
        records = [Turn(role="user", text=text, id=key) for key, text in operation["records"].items()]
        memory.append(user, [Entry(record=record, embedding=embedding) for record in records])


def apply(state, operation):
    kept = state[operation["user"]]
    if operation["kind"] == "write":
        kept.update(operation["records"])
    else:
        for key in list(kept) if operation["ids"] is None else operation["ids"]:
            kept.pop(key, None)


def differences(expected, in_flight, found):
    finished = {user: dict(records) for user, records in expected.items()}
    if in_flight is not None:
        apply(finished, in_flight)
    for user in USERS:
        crossed = [text for text in found[user].values() if not text.startswith(f"{user} ")]
        if crossed:
            yield f"{user} has records of others: {crossed}"
        if found[user] not in (expected[user], finished[user]):
            lost = set(expected[user]) & set(finished[user]) - set(found[user])
            extra = set(found[user]) - set(expected[user]) - set(finished[user])
            half = set(found[user]) ^ set(expected[user])
            yield f"{user}: lost {sorted(lost)}, unexpected {sorted(extra)}, half of {in_flight}: {sorted(half)}"


def tell(writing, message):
    os.write(writing, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
