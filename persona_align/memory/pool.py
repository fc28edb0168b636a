"""Shard folders that are open: few at a time, the ones used longest ago closed first."""

import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from persona_align.errors import StoreUnavailableError
from persona_align.memory.folder import settle
from persona_align.memory.shard import Shard, open_folder

__all__ = ["OPEN_BYTES", "ShardPool"]

OPEN_BYTES = 1280 << 20
"""How much memory open shards may take."""
_BYTES_PER_SHARD = 15 << 20
"""What an open shard takes beside its index: page caches and threads."""
_SIZED_EVERY = 32
"""After so many uses the size of a shard, which grows while it is open, is looked up again."""
_FILES_PER_SHARD = 32
_FILES_LEFT_ALONE = 200
_MOST = 64


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shard: Shard | None = None
        self.leases = 0
        self.uses = 0
        self.bytes = 0
        self.failed = False

    def close(self) -> None:
        if self.shard is not None:
            self.shard.close()
            self.shard = None


class ShardPool:
    """Opens shards when they are needed and closes them when there are too many. Safe to use from several threads.

    Each open shard costs about 30 file descriptors, 6 threads and 15 MB beside its index.

    Args:
        folder: Where the shard folders lie.
        most_bytes: How much memory open shards may take.
    """

    def __init__(self, folder: Path, *, most_bytes: int = OPEN_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = (files - _FILES_LEFT_ALONE) // _FILES_PER_SHARD
        self._most = _MOST if files == resource.RLIM_INFINITY else max(4, min(_MOST, room))
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, find: Callable[[], str | None]) -> Iterator[Shard | None]:
        """The shard of the folder name that `find` gives, kept open while in use; None if it gives none.

        After a failure the shard is closed and opened anew: a Chroma client whose transaction failed, for instance
        on a full disk, may wait for its own lock for ever.

        Raises:
            StoreUnavailableError: It cannot be opened.
        """
        with (
            self._changed
        ):  # found under the lock: a shard that is being replaced is not taken away before it is leased
            name = find()
            while name is not None and name in self._slots and self._slots[name].failed:
                self._changed.wait()
                name = find()
            slot = None if name is None else self._slots.setdefault(name, _Slot())
            if slot is not None and name is not None:
                slot.leases += 1
                self._slots.move_to_end(name)
        if slot is None or name is None:
            yield None
            return
        try:
            with slot.lock:
                if slot.shard is None:
                    slot.shard = open_folder(self._folder / name)
                    slot.bytes = _index_bytes(self._folder / name)
            yield slot.shard
        except StoreUnavailableError:
            slot.failed = True
            raise
        finally:
            with self._changed:
                slot.leases -= 1
                slot.uses += 1
                if slot.uses % _SIZED_EVERY == 0:
                    slot.bytes = _index_bytes(self._folder / name)
                if slot.leases == 0 and (slot.shard is None or slot.failed) and self._slots.get(name) is slot:
                    del self._slots[name]
                    slot.close()
                self._evict()
                self._changed.notify_all()

    def adopt(self, name: str, shard: Shard) -> None:
        """Take over a shard that was just made."""
        slot = _Slot()
        slot.shard = shard
        slot.bytes = _index_bytes(self._folder / name)
        with self._changed:
            self._slots[name] = slot

    def retire(self, name: str) -> None:
        """Close a shard for good, once nobody uses it; the caller made sure that nobody finds it any more."""
        with self._changed:
            slot = self._slots.get(name)
            if slot is None:
                return
            self._changed.wait_for(lambda: slot.leases == 0)
            self._slots.pop(name, None)
            slot.close()
        settle(self._folder / name)

    def close(self) -> None:
        """Close all of them."""
        with self._changed:
            for slot in self._slots.values():
                slot.close()
            names = list(self._slots)
            self._slots.clear()
        for name in names:
            settle(self._folder / name)

    def _evict(self) -> None:
        held = sum(slot.bytes for slot in self._slots.values())
        for name, slot in list(self._slots.items()):
            if len(self._slots) <= self._most and held <= self._most_bytes:
                return
            if slot.leases == 0 and slot.shard is not None:
                del self._slots[name]
                held -= slot.bytes
                slot.close()


def _index_bytes(path: Path) -> int:
    total = _BYTES_PER_SHARD
    for file in path.glob("*/data_level0.bin"):
        with suppress(FileNotFoundError):  # an index that the database is just making anew
            total += file.stat().st_size
    return total
