"""One shard in Chroma: a collection of records and a collection of the users they belong to."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from persona_align.errors import StoreUnavailableError
from persona_align.memory.index_files import clear_lengths, clear_unused, index_folders
from persona_align.memory.index_map import is_interrupted, keep_maps
from persona_align.memory.rows import Row, user_key

__all__ = [
    "DamagedShardError",
    "InterruptedIndexError",
    "Shard",
    "batches",
    "check_indexes",
    "client_of",
    "open_folder",
    "translated",
]

PAGE = 1000
"""How many rows are read from Chroma at once."""
MOST_ROWS = 4000
"""How many rows are written in one transaction at most."""
_HNSW = {"space": "l2", "sync_threshold": 100, "batch_size": 100, "max_neighbors": 2, "ef_construction": 2}
"""Retrieval is exact, over one user's records, and never asks the index for neighbours: so it has hardly any, which
makes writing three times as fast. Chroma reads every row above the threshold again at each write, so it is low."""
_T = TypeVar("_T")


def open_folder(path: Path, *, create: bool = False) -> "Shard":
    """The shard in a folder of its own, with embedded Chroma.

    Raises:
        InterruptedIndexError: A process was killed while it put an index on disk.
        StoreUnavailableError: Chroma cannot open it.
    """
    with translated():
        if create:
            _log_ahead(path)
        else:
            check_indexes(path)
        client = client_of(path)
        try:
            return Shard(client, "records", "users", create=create, path=path)
        except BaseException:
            client.close()
            raise


def check_indexes(path: Path) -> None:
    """Refuse a shard's folder, which nobody has open, whose indexes are not whole.

    Raises:
        InterruptedIndexError: A process was killed while it put one on disk.
    """
    if any(is_interrupted(index) for index in index_folders(path)):
        raise InterruptedIndexError(f"Putting an index of {path} on disk was interrupted.", _RECOVERED)


def _log_ahead(path: Path) -> None:
    """Make the database of a new shard with a write-ahead log: one wait for the disk for each write instead of four."""
    path.mkdir(mode=0o700)
    with closing(sqlite3.connect(path / "chroma.sqlite3")) as database:
        database.execute("PRAGMA journal_mode=WAL")


def client_of(path: Path) -> Any:
    """A new Chroma client of a folder."""
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient

    try:
        return chromadb.PersistentClient(str(path), settings=settings())
    except Exception as error:
        # Chroma keeps what failed to start and would hand it out again; its own error hides the one that matters
        SharedSystemClient._identifier_to_system.pop(str(path), None)
        SharedSystemClient._identifier_to_refcount.pop(str(path), None)
        first = error.__context__ if isinstance(error, AttributeError) else None
        raise first or error from None


def settings(**more: Any) -> Any:
    """Chroma's settings; a new object each time, since a client changes the one it is given."""
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False, **more)


class Shard:
    """Rows of many users in two collections of one Chroma client. Safe to use from several threads.

    The index keeps vectors as they were given (Euclidean distance: for unit vectors the same order as cosine), so that
    they can be copied bit for bit. Texts lie in the metadata and not in Chroma's documents, whose full-text index
    would make the folder a quarter larger and copying nearly half as fast.
    """

    def __init__(
        self, client: Any, records: str, users: str, *, create: bool = False, path: Path | None = None
    ) -> None:
        self.client = client
        self._path = path
        if create:
            configuration = {"hnsw": _HNSW}
            self.records = client.get_or_create_collection(
                records, embedding_function=None, configuration=configuration
            )
            self.users = client.get_or_create_collection(users, embedding_function=None, configuration=configuration)
        else:
            self.records = client.get_collection(records, embedding_function=None)
            self.users = client.get_collection(users, embedding_function=None)
        self.limit = min(int(client.get_max_batch_size()), MOST_ROWS)
        if path is not None and not create:
            self._wake()
        self._indexes = index_folders(path) if path else set()
        clear_unused(self._indexes)
        keep_maps(self._indexes)

    def close(self) -> None:
        """Release the client's files and threads."""
        self.client.close()

    def count(self) -> int:
        """How many rows it holds."""
        with self._operation():
            return int(self.records.count())

    def add(self, rows: Sequence[Row]) -> None:
        """Add at most `limit` rows in one transaction; rows whose id is there already are left as they are."""
        if not rows:
            return
        with self._operation(writes=True):
            self.records.add(
                ids=[row.id for row in rows],
                embeddings=np.stack([row.embedding for row in rows]),
                metadatas=[row.metadata for row in rows],
            )

    def update(self, metadatas: Mapping[str, dict[str, Any]]) -> None:
        """Change metadata fields of rows by id."""
        for part in batches(metadatas.items(), PAGE):
            with self._operation(writes=True):
                self.records.update(ids=[key for key, _ in part], metadatas=[value for _, value in part])

    def delete(self, ids: Iterable[str]) -> None:
        """Take rows out of Chroma's sight; their bytes stay in its files."""
        for part in batches(ids, PAGE):
            with self._operation(writes=True):
                self.records.delete(ids=part)

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of some ids that are there."""
        found: set[str] = set()
        for part in batches(ids, PAGE):
            with self._operation():
                found.update(self.records.get(ids=part, include=[])["ids"])
        return found

    def ids(self, user_id: str | None = None) -> list[str]:
        """All ids, or those of a user."""
        where = None if user_id is None else {"user_id": user_id}
        with self._operation():
            return list(self.records.get(where=where, include=[])["ids"])

    def rows(self, ids: Iterable[str]) -> Iterator[list[Row]]:
        """The rows of some ids, in batches, in the order of the ids."""
        for part in batches(ids, PAGE):
            with self._operation():
                found = self.records.get(ids=part, include=["embeddings", "metadatas"])
            rows = {row.id: row for row in _rows(found)}
            yield [rows[key] for key in part if key in rows]

    def rows_of(self, user_id: str) -> Iterator[list[Row]]:
        """All rows of a user, in batches."""
        with self._operation():
            found = self.records.get(where={"user_id": user_id}, include=["embeddings", "metadatas"], limit=PAGE)
        if len(found["ids"]) < PAGE:
            yield _rows(found)
        else:
            yield from self.rows(self.ids(user_id))

    def sign(self, users: Mapping[str, Mapping[str, Any]]) -> None:
        """Note users as present, with the fields that go with them."""
        for part in batches(users.items(), self.limit):
            with self._operation(writes=True):
                self.users.upsert(
                    ids=[user_key(user) for user, _ in part],
                    embeddings=np.zeros((len(part), 1), np.float32),
                    metadatas=[{"user_id": user, **fields} for user, fields in part],
                )

    def signature(self, user_id: str) -> dict[str, Any] | None:
        """The fields of a user, None for an unknown one."""
        with self._operation():
            found = self.users.get(ids=[user_key(user_id)], include=["metadatas"])["metadatas"]
        return dict(found[0]) if found else None

    def unsign(self, user_id: str) -> None:
        """Take a user out of the list."""
        with self._operation(writes=True):
            self.users.delete(ids=[user_key(user_id)])

    def signatures(self) -> dict[str, dict[str, Any]]:
        """The fields of every user."""
        with self._operation():
            found = self.users.get(include=["metadatas"])["metadatas"] or []
        return {str(fields["user_id"]): dict(fields) for fields in found}

    def _wake(self) -> None:
        """Let Chroma load both indexes now, while nobody else uses them.

        An index of which it has put nothing on disk yet is made anew by the first call that concerns it, also by one
        that reads, with whatever the memory of the process held.
        """
        for collection in (self.records, self.users):
            with suppress(StoreUnavailableError), translated():  # a damaged one: told by the call that needs it
                collection.get(limit=1, include=[])

    @contextmanager
    def _operation(self, *, writes: bool = False) -> Iterator[None]:
        """Around every call of Chroma; the callers see to it that of those that write there is one at a time."""
        with translated():
            yield
        if self._path is not None:
            if writes:
                if len(self._indexes) < 2:  # each is made by the first write to its collection
                    new = index_folders(self._path) - self._indexes
                    clear_unused(new)
                    self._indexes |= new
                keep_maps(self._indexes)
            clear_lengths(self._indexes)


def _rows(found: Any) -> list[Row]:
    ids = found["ids"]
    if not ids:
        return []
    embeddings = np.asarray(found["embeddings"], np.float32)
    embeddings.setflags(write=False)
    return [Row(key, embeddings[i], dict(found["metadatas"][i])) for i, key in enumerate(ids)]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Items in lists of at most `size`.

    Example:
        >>> list(batches("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


class DamagedShardError(StoreUnavailableError):
    """Chroma's files of one shard are damaged."""


class InterruptedIndexError(DamagedShardError):
    """An index of one shard was written in part, and everything is still there to make it anew."""


@contextmanager
def translated() -> Iterator[None]:
    """What Chroma, its database or the network raise, as errors of this library."""
    import httpx
    from chromadb.errors import ChromaError, InternalError, NotFoundError, RateLimitError

    try:
        yield
    except (InternalError, NotFoundError) as error:
        raise _explained(error) from error
    except (httpx.HTTPError, RateLimitError, json.JSONDecodeError) as error:
        raise StoreUnavailableError(
            f"The Chroma server does not answer: {str(error) or type(error).__name__}.",
            "Check that it runs and try again: what was acknowledged is kept, and recording twice is harmless.",
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailableError(f"The memory cannot be used: {error}.", _DISK) from error
    except ChromaError as error:
        raise StoreUnavailableError(f"Chroma refused: {error}.", _DISK) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # what a failure inside Chroma's native code looks like
            raise _explained(error) from error
        raise


_RECOVERED = "Open the memory again: what can be read is recovered."
_DISK = "Check the folder's permissions and the free disk space; what was acknowledged is kept."
_DAMAGE = (
    "malformed",
    "not a database",
    "corrupt",
    "hnsw",
    "Error finding id",
    "Error getting embedding",
    "does not exist",
    "no such table",
    "disk image",
)


def _explained(error: BaseException) -> StoreUnavailableError:
    text = str(error)
    if any(sign in text for sign in _DAMAGE):
        return DamagedShardError(f"Chroma's files are damaged: {text}.", _RECOVERED)
    return StoreUnavailableError(f"Chroma could not read or write: {text}.", _DISK)
