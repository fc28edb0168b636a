"""Embedded Chroma: many small shard folders, opened when needed and bounded in number and bytes.

Each shard is a Chroma of its own (one SQLite file, one index), so that a person is erased by rebuilding one small
folder and not one big database. A user's hash says which: the manifest maps bit prefixes of hashes to shard folders,
and a shard that grows too large is split in two by the next bit.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from persona_align.errors import StoreUnavailableError
from persona_align.memory.copying import copy_shard
from persona_align.memory.folder import Folder, remove, settle, sync_folder, sync_tree, unavailable
from persona_align.memory.index_files import clear_unused, index_folders
from persona_align.memory.pool import OPEN_BYTES, ShardPool
from persona_align.memory.recovery import Recovery, salvage
from persona_align.memory.rows import Row, user_key
from persona_align.memory.shard import (
    DamagedShardError,
    InterruptedIndexError,
    Shard,
    batches,
    check_indexes,
    open_folder,
)

__all__ = ["Embedded", "Submission"]

LANE_BITS = 4
"""A new folder starts with up to 16 shards, each with a lane of writes."""
SPLIT_AT = 20_000
"""A shard with more rows is split; erasing copies at most about as many."""
_LOG = logging.getLogger("persona_align.memory")


class Submission(NamedTuple):
    """The rows of one call, all of one user: written together or not at all."""

    user_id: str
    rows: Sequence[Row]


class Embedded:
    """The shards of a data folder. Safe to use from several threads; writes of one lane come one at a time.

    Args:
        folder: The data folder, with a manifest.
        split_at: Rows beyond which a shard is split.
        open_bytes: How much memory open shards may take.
    """

    def __init__(self, folder: Folder, *, split_at: int = SPLIT_AT, open_bytes: int = OPEN_BYTES) -> None:
        self.folder = folder
        self.split_at = split_at
        self._lane_bits = int(folder.manifest["lane_bits"])
        self.lanes = 1 << self._lane_bits
        self.pool = ShardPool(folder.shards, most_bytes=open_bytes)
        self.recovered: list[Recovery] = []
        self._signed: set[str] = set()
        self._rows: dict[str, int] = {}
        self._counted: set[str] = set()
        self._unsplittable: dict[str, int] = {}

    def lane(self, user_id: str) -> int:
        """Which lane writes a user's records."""
        return int(user_key(user_id)[:2], 16) >> (8 - self._lane_bits)

    def token(self, user_id: str) -> str:  # noqa: ARG002  # one process holds the folder: nobody else changes it
        """What changes when another process writes to a user: nothing."""
        return ""

    def write(self, group: Sequence[Submission]) -> list[BaseException | None]:
        """Write the submissions of one lane, those of one shard in one transaction."""
        outcomes: list[BaseException | None] = [None] * len(group)
        by_prefix: dict[str, list[int]] = {}
        for i, submission in enumerate(group):
            by_prefix.setdefault(self.locate(submission.user_id), []).append(i)
        for prefix, members in by_prefix.items():
            try:
                self._write_shard(prefix, [group[i] for i in members])
            except StoreUnavailableError as error:
                for i in members:
                    outcomes[i] = error
        return outcomes

    def read(self, user_id: str) -> Iterator[list[Row]]:
        """All rows of a user, in batches, in no order."""
        with self.lease(user_id) as shard:
            batches = [] if shard is None else list(shard.rows_of(user_id))
        yield from batches

    def ids(self, user_id: str) -> list[str]:
        """The row ids of a user."""
        with self.lease(user_id) as shard:
            return [] if shard is None else shard.ids(user_id)

    def known(self, user_id: str, ids: Sequence[str]) -> set[str]:
        """Those of some row ids that are there."""
        with self.lease(user_id) as shard:
            return set() if shard is None else shard.known(ids)

    def update(self, user_id: str, metadatas: dict[str, dict[str, Any]]) -> None:
        """Change metadata fields of a user's rows; the caller holds the lane."""
        with self.lease(user_id) as shard:
            if shard is not None:
                shard.update(metadatas)

    def erase(self, user_id: str, ids: Sequence[str], *, everything: bool, cutoff: int) -> list[Path]:
        """Rebuild a user's shard without some rows, or without the user; the caller holds the lane.

        What is to be erased is put on disk first, so that the next process finishes it after a crash. When there is
        no room to rebuild, the rows are at least taken out of sight before the error is raised.

        Args:
            user_id: Whose rows.
            ids: The row ids.
            everything: Whether the user is taken out of the list of users too.
            cutoff: An arrival number; rows that arrive after it are not the user's past and stay.

        Returns:
            The folders that hold the survivors.
        """
        prefix = self.locate(user_id)
        with self.lease(user_id) as shard:
            if shard is None or (not ids and shard.signature(user_id) is None):
                self._end_intents(user_id, ids, everything=everything)
                return []
        gone = [user_id] if everything else []
        intent = {"kind": "forget", "user_id": user_id, "ids": list(ids), "everything": everything, "cutoff": cutoff}
        name = self.folder.begin(f"forget-{cutoff:020d}", intent)
        try:
            self.rebuild(prefix, without=ids, without_users=gone)
        except BaseException:
            with suppress(StoreUnavailableError), self.lease(user_id) as shard:
                if shard is not None:
                    shard.delete(ids)
            raise
        self.folder.end(name)
        self._end_intents(user_id, ids, everything=everything)
        return [self.folder.shards / self.folder.manifest["shards"][prefix]]

    def discard_damaged(self, user_id: str) -> None:
        """Remove what was put aside of damaged shards that may have held a user: nobody can tell whom it shows."""
        lane = self.locate(user_id)[: self._lane_bits]
        for folder in self.folder.damaged():
            if folder.name.startswith(lane):
                remove(folder)

    def resume(self) -> None:
        """Make whole what a process left when it was killed: indexes, erasures, and writes, which are undone."""
        for prefix, name in self.folder.manifest["shards"].items():
            try:
                check_indexes(self.folder.shards / name)
            except InterruptedIndexError as error:
                self.recover(prefix, error)
            clear_unused(index_folders(self.folder.shards / self.folder.manifest["shards"][prefix]))
        for intent in self.folder.intents():
            try:
                self._finish(intent)
            except DamagedShardError as error:
                self.recover(self.locate(intent["user_id"]), error)
                self._finish(intent)

    def _finish(self, intent: Mapping[str, Any]) -> None:
        user_id = intent["user_id"]
        prefix = self.locate(user_id)
        with self.lease(user_id) as shard:
            ids = [] if shard is None else _concerned(shard, intent)
            left = False if shard is None else set(shard.ids(user_id)) > set(ids)
        if prefix in self.folder.manifest["shards"]:
            self.rebuild(prefix, without=ids, without_users=[] if left or not intent["everything"] else [user_id])
        if intent["kind"] == "forget":
            self.discard_damaged(user_id)
        self.folder.end(intent["file"])

    def recover(self, prefix: str, damage: DamagedShardError) -> Recovery | None:
        """Replace a damaged shard by what can still be read of it, and tell; the caller holds the lane.

        The damaged folder is kept under `damaged/`, until somebody who may be in it is forgotten. Where only writing
        an index was interrupted nothing is lost, nor kept of it.
        """
        name = self.folder.manifest["shards"].get(prefix)
        if name is None:
            return None
        self.pool.retire(name)
        rows, recovery = salvage(self.folder.shards / name, int(self.folder.manifest["dimension"]))
        new_name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        shard = open_folder(self.folder.shards / new_name, create=True)
        try:
            for part in batches(rows, shard.limit):
                shard.add(part)
            shard.sign({row.metadata["user_id"]: {} for row in rows})
        finally:
            shard.close()
        settle(self.folder.shards / new_name)
        clear_unused(index_folders(self.folder.shards / new_name))
        sync_tree(self.folder.shards / new_name)
        lost = recovery.without_embedding or not isinstance(damage, InterruptedIndexError)
        if lost:
            self.folder.set_aside(name)
        self.folder.switch(prefix, {prefix: new_name})
        with suppress(OSError):
            remove(self.folder.shards / name)
        if not lost:
            _LOG.info("%s It was made anew from its %d records.", damage.message, recovery.records)
            return recovery
        _LOG.warning(
            "A shard of the memory was damaged (%s): %d records were recovered, %d of them without their embedding "
            "(run `persona-align reembed`); %d database rows could not be read.",
            damage.message,
            recovery.records,
            recovery.without_embedding,
            recovery.unreadable,
        )
        self.recovered.append(recovery)
        return recovery

    def users(self) -> Iterator[str]:
        """Everybody who has records."""
        for prefix in self.prefixes():
            yield from self.users_of(prefix)

    def prefixes(self) -> list[str]:
        """The bit prefixes of all shards."""
        return sorted(self.folder.manifest["shards"])

    def users_of(self, prefix: str) -> list[str]:
        """Everybody in one shard."""
        with self.lease_shard(prefix) as shard:
            return [] if shard is None else sorted(shard.signatures())

    def lane_of(self, prefix: str) -> int:
        """Which lane writes a shard."""
        return int(prefix[: self._lane_bits], 2)

    def close(self) -> None:
        """Close every shard and let the folder go."""
        self.pool.close()
        self.folder.release()

    def locate(self, user_id: str) -> str:
        """The bit prefix of the shard that holds, or would hold, a user."""
        bits = f"{int(user_key(user_id), 16):0128b}"
        shards = self.folder.manifest["shards"]
        return next(
            (bits[:n] for n in range(self._lane_bits, len(bits)) if bits[:n] in shards), bits[: self._lane_bits]
        )

    def lease(self, user_id: str) -> AbstractContextManager[Shard | None]:
        """The shard of a user, kept open while in use; None if there is none yet."""
        return self.pool.lease(lambda: self.folder.manifest["shards"].get(self.locate(user_id)))

    def lease_shard(self, prefix: str) -> AbstractContextManager[Shard | None]:
        """The shard of a prefix, kept open while in use; None if there is none."""
        return self.pool.lease(lambda: self.folder.manifest["shards"].get(prefix))

    def rebuild(
        self,
        prefix: str,
        *,
        without: Iterable[str] = (),
        without_users: Collection[str] = (),
        into: Sequence[str] = (),
        change: Callable[[list[Row]], list[Row]] | None = None,
        note: Mapping[str, Any] | None = None,
        adding: Sequence[Row] = (),
    ) -> int:
        """Copy a shard into new folders and remove the old one; the caller holds the lane.

        Whatever is left out is in no byte of the new folders, because they never see it. Until the manifest names the
        new ones the old one counts, so that a crash leaves either.

        Args:
            prefix: The shard.
            without: Row ids to leave out.
            without_users: Users who are taken out of the list of users as well.
            into: Longer prefixes to divide it into.
            change: Applied to every batch of rows.
            note: Changes of the manifest that take effect together with the new folders.
            adding: Rows to add to it, where it is not divided.

        Returns:
            How many rows were left out.
        """
        targets = {target: f"{target}-{uuid.uuid4().hex[:12]}" for target in into or [prefix]}
        old_name = self.folder.manifest["shards"][prefix]
        try:
            with self.lease_shard(prefix) as old, ExitStack() as stack:
                if old is None:
                    raise StoreUnavailableError(f"The shard {prefix} is gone.", "Open the memory again.")
                new = {}
                for target, name in targets.items():
                    new[target] = open_folder(self.folder.shards / name, create=True)
                    stack.callback(new[target].close)
                left_out = copy_shard(old, new, set(without), without_users, change)
                if not into:
                    new[prefix].add(adding)
            for name in targets.values():
                settle(self.folder.shards / name)
                clear_unused(index_folders(self.folder.shards / name))
                sync_tree(self.folder.shards / name)
            sync_folder(self.folder.shards)
            self.folder.switch(prefix, targets, note)
        except BaseException:
            for name in targets.values():
                with suppress(OSError):
                    remove(self.folder.shards / name)
            raise
        self._signed -= set(without_users)
        self.pool.retire(old_name)
        try:
            remove(self.folder.shards / old_name)
        except OSError as error:
            raise unavailable(self.folder.path, error) from error
        return left_out

    def _end_intents(self, user_id: str, ids: Collection[str], *, everything: bool) -> None:
        """Take erasures and writes of a user that failed before off the disk, where nothing is left of them to undo."""
        for earlier in self.folder.intents():
            if earlier["user_id"] == user_id and (everything or set(earlier["ids"]) <= set(ids)):
                self.folder.end(earlier["file"])

    def _write_shard(self, prefix: str, submissions: Sequence[Submission]) -> None:
        if prefix not in self.folder.manifest["shards"]:
            self._create(prefix)
        with self.lease_shard(prefix) as shard:
            if shard is None:
                raise StoreUnavailableError(f"The shard {prefix} is gone.", "Open the memory again.")
            self._sign(shard, {submission.user_id for submission in submissions})
            together: list[Row] = []
            for submission in submissions:
                if len(together) + len(submission.rows) > shard.limit:
                    shard.add(_unique(together))
                    together = []
                if len(submission.rows) > shard.limit:
                    self._write_large(shard, submission)
                else:
                    together.extend(submission.rows)
            shard.add(_unique(together))
            self._rows[prefix] = self._rows.get(prefix, 0) + sum(len(submission.rows) for submission in submissions)
            crowded = self._rows[prefix] > self._most(prefix)
            if crowded or prefix not in self._counted:
                self._counted.add(prefix)
                self._rows[prefix] = shard.count()
                crowded = self._rows[prefix] > self._most(prefix)
        if crowded:
            self._split(prefix)

    def _write_large(self, shard: Shard, submission: Submission) -> None:
        """Several transactions: undone by the next process when this one is killed between them."""
        known = shard.known([row.id for row in submission.rows])
        rows = [row for row in _unique(submission.rows) if row.id not in known]
        if not rows:
            return
        intent = {
            "kind": "write",
            "user_id": submission.user_id,
            "ids": [row.id for row in rows],
            "everything": False,
            "cutoff": max(row.metadata["seq"] for row in rows),
        }
        name = self.folder.begin(f"write-{uuid.uuid4().hex}", intent)
        try:
            for start in range(0, len(rows), shard.limit):
                shard.add(rows[start : start + shard.limit])
        except BaseException:
            with suppress(StoreUnavailableError):  # out of sight now; out of the files when the folder is opened again
                shard.delete(intent["ids"])
            raise
        self.folder.end(name)

    def _sign(self, shard: Shard, users: set[str]) -> None:
        new: dict[str, dict[str, Any]] = {user: {} for user in users - self._signed if shard.signature(user) is None}
        if new:
            shard.sign(new)
        if len(self._signed) > 200_000:
            self._signed.clear()
        self._signed |= users

    def _create(self, prefix: str) -> None:
        name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        path = self.folder.shards / name
        try:
            shard = open_folder(path, create=True)
            try:
                sync_tree(path)
                sync_folder(self.folder.shards)
                self.folder.switch(prefix, {prefix: name})
            except BaseException:
                shard.close()
                raise
        except BaseException:
            with suppress(OSError):
                remove(path)
            raise
        self.pool.adopt(name, shard)

    def _most(self, prefix: str) -> int:
        return max(self.split_at, self._unsplittable.get(prefix, 0))

    def _split(self, prefix: str) -> None:
        self.rebuild(prefix, into=[prefix + "0", prefix + "1"])
        for half in (prefix + "0", prefix + "1"):
            with self.lease_shard(half) as shard:
                rows = shard.count() if shard is not None else 0
            if rows > self.split_at:  # one user has most of it: wait until the rest has doubled
                self._unsplittable[half] = 2 * rows


def _concerned(shard: Shard, intent: Mapping[str, Any]) -> list[str]:
    wanted = shard.ids(intent["user_id"]) if intent["everything"] else shard.known(intent["ids"])
    return [row.id for rows in shard.rows(wanted) for row in rows if row.metadata["seq"] <= intent["cutoff"]]


def _unique(rows: Iterable[Row]) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.id, row)
    return list(first.values())
