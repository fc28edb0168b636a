"""Forgetting people: what is erased, how it is verified, and what lies out of reach."""

import json
import mmap
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from persona_align.errors import InvalidRecordError, StoreUnavailableError
from persona_align.memory.embedded import Embedded
from persona_align.memory.entry import Entry
from persona_align.memory.limits import begins
from persona_align.memory.rows import user_key
from persona_align.memory.server import Server

__all__ = ["Receipt", "chosen_records", "erase"]

_ELSEWHERE = (
    "Short-term history that a LangGraph checkpointer keeps: delete_thread(thread_id) of the checkpointer.",
    "Replies in a LangChain LLM cache: clear() of the cache.",
    "Traces sent to an observability service, and your own logs: delete them there.",
    "Backups and snapshots of the disk, and freed blocks below the file system: let them expire, or encrypt the disk.",
)
_SUMMARY = (
    "The summary {0}: numbers of many records that the cap dropped earlier, from which one cannot be taken out. To "
    "erase it as a whole: forget(user, record_ids=[{0!r}])."
)
_SERVER = (
    "The server's own files: Chroma keeps deleted rows in its write-ahead log, index files and free pages. Stop the "
    "server, run `persona-align scrub DIR` on the folder it was started with, and start it again."
)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a `forget` did.

    Args:
        user_id: Whose records.
        erased: How many records.
        remaining: How many records of this user are kept, because only some were to be erased.
        complete: Whether no byte of the erased records is left in the memory; False on a server.
        verified: What was checked, one sentence each.
        out_of_reach: What may still hold traces, and how to clear it.
        seconds: How long it took.
        at: When it was done.

    Example:
        >>> Receipt(user_id="ada", erased=2).to_json()["erased"]
        2
    """

    user_id: str
    erased: int
    remaining: int = 0
    complete: bool = True
    verified: tuple[str, ...] = ()
    out_of_reach: tuple[str, ...] = _ELSEWHERE
    seconds: float = 0.0
    at: datetime | None = None

    def beside_summaries(self, ids: Sequence[str]) -> "Receipt":
        """The receipt where summaries are left of records that the cap had dropped earlier."""
        told = tuple(_SUMMARY.format(each) for each in ids)
        return replace(self, out_of_reach=(*told, *self.out_of_reach))

    def to_json(self) -> dict[str, Any]:
        """The receipt as an object that JSON can hold."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]


def chosen_records(
    entries: Iterable[Entry], *, before: datetime | None, record_ids: Collection[str] | None
) -> list[str] | None:
    """The ids of the entries that are older than a time and among some ids; None for everything.

    Raises:
        InvalidRecordError: The time has no time zone, or the ids are one string.
    """
    if isinstance(record_ids, str):
        raise InvalidRecordError(f"record_ids is the string {record_ids!r}.", "Give a list of ids.")
    if before is not None and before.tzinfo is None:
        raise InvalidRecordError(f"before={before.isoformat()} has no time zone.", "Give a time in UTC.")
    if before is None and record_ids is None:
        return None
    wanted = None if record_ids is None else set(record_ids)
    return [
        entry.record.id
        for entry in entries
        if (wanted is None or entry.record.id in wanted) and (before is None or _begins_before(entry, before))
    ]


def _begins_before(entry: Entry, moment: datetime) -> bool:
    begin = begins(entry.record)
    return begin is not None and begin < moment


def erase(backend: Embedded | Server, user_id: str, ids: Sequence[str] | None, cutoff: int) -> Receipt:
    """Erase rows of a user, or with None the user; the caller holds the lane.

    Args:
        backend: Where they are.
        user_id: Whose.
        ids: Row ids.
        cutoff: The arrival number of this moment.

    Raises:
        StoreUnavailableError: It could not be finished; opening the memory again finishes it.
    """
    start = time.perf_counter()
    held = backend.ids(user_id)
    wanted = held if ids is None else set(ids)
    gone = held if ids is None else [key for key in held if key in wanted]
    everything = ids is None
    if isinstance(backend, Server):
        backend.delete(user_id, gone, everything=everything)
        verified = [_absent(backend, user_id, gone)]
        elsewhere: tuple[str, ...] = (_SERVER, *_ELSEWHERE)
    else:
        verified = _erase_embedded(backend, user_id, gone, everything=everything, cutoff=cutoff)
        elsewhere = _ELSEWHERE
    return Receipt(
        user_id=user_id,
        erased=len(gone),
        remaining=len(held) - len(gone),
        complete=not isinstance(backend, Server),
        verified=tuple(verified),
        out_of_reach=elsewhere,
        seconds=round(time.perf_counter() - start, 3),
        at=datetime.now(UTC),
    )


def _erase_embedded(
    backend: Embedded, user_id: str, gone: Sequence[str], *, everything: bool, cutoff: int
) -> list[str]:
    backend.discard_damaged(user_id)
    if not gone and not everything:
        return ["None of these records is kept."]
    folders = backend.erase(user_id, gone, everything=everything, cutoff=cutoff)
    if not folders:
        return ["Nothing is kept about this user."]
    needles = [gone[i].encode() for i in sorted({0, len(gone) // 2, len(gone) - 1})] if gone else []
    needles += [user_key(user_id).encode()] if everything else []
    size = 0
    for folder in folders:
        for file in _files(folder):
            looked_at, held = _look(file, needles)
            size += looked_at
            if held:
                raise StoreUnavailableError(
                    f"After erasing, {file.name} still holds a row of this user.", "Call forget again, and report it."
                )
    return [
        _absent(backend, user_id, gone),
        "The shard was rebuilt from the records that stay, each counted and copied bit for bit, and its old folder was "
        "removed: database, write-ahead log, index files and free pages.",
        f"{len(needles)} of the erased row ids were looked for in all {size:,} bytes of the new shard: 0 found.",
    ]


def _absent(backend: Embedded | Server, user_id: str, gone: Sequence[str]) -> str:
    left = backend.known(user_id, gone)
    if left:
        raise StoreUnavailableError(
            f"{len(left)} of the {len(gone)} records are still there.", "Somebody wrote them again; call forget again."
        )
    return f"None of the {len(gone)} erased records can be read any more."


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _look(file: Path, needles: Iterable[bytes]) -> tuple[int, bool]:
    """The size of a file and whether it holds a needle; a log that the database has just put away is empty."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return len(view), any(view.find(needle) >= 0 for needle in needles)
    except (FileNotFoundError, ValueError):  # nothing can be mapped of an empty file
        return 0, False
