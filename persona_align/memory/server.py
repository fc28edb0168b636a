"""A Chroma server: the same shards as collections, shared by many workers."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from persona_align.errors import IncompatibleStoreError, StoreUnavailableError
from persona_align.memory.embedded import Submission
from persona_align.memory.rows import Row, user_key
from persona_align.memory.shard import Shard, settings, translated

__all__ = ["Server"]

_ATTEMPTS = 4
_FIRST_PAUSE = 0.1
_T = TypeVar("_T")


class Server:
    """The shards of one Chroma server. Safe to use from several threads and by several processes.

    Writing is harmless to repeat, so a request that the server did not answer is sent again, a few times with growing
    pauses. Every write puts a new token beside the user, after the rows: whoever cached the user sees that it changed.

    Args:
        url: Where the server listens, as "http://host:port".
        timeout: Seconds to wait for one answer.

    Raises:
        StoreUnavailableError: No Chroma server answers there.
    """

    lanes = 16

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        import chromadb
        import httpx

        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 8000)
        self.url = url
        try:
            httpx.get(f"{parts.scheme}://{parts.hostname}:{port}/api/v2/heartbeat", timeout=5).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StoreUnavailableError(
                f"No Chroma server answers at {url}: {str(error) or type(error).__name__}.",
                "Start one with `chroma run --path DIR`, or name a folder instead.",
            ) from error
        with translated():
            self.client: Any = chromadb.HttpClient(
                host=str(parts.hostname), port=port, ssl=parts.scheme == "https", settings=settings()
            )
        clients = (self.client, getattr(self.client, "_admin_client", None))
        sessions = (getattr(getattr(client, "_server", None), "_session", None) for client in clients)
        self._sessions = [session for session in sessions if isinstance(session, httpx.Client)]
        for session in self._sessions:  # Chroma waits for ever: a server that hangs must not hang its callers
            session.timeout = httpx.Timeout(timeout, connect=5.0)
        self._shards: dict[int, Shard] = {}

    def manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the server's memory was made with; made with what is given if it is new."""
        with translated():
            made = self.client.get_or_create_collection("persona-align", embedding_function=None, metadata=given)
            return dict(made.metadata or {})

    def update_manifest(self, manifest: dict[str, Any]) -> None:
        """Change what is noted about the memory."""
        with translated():
            self.client.get_collection("persona-align", embedding_function=None).modify(metadata=manifest)

    def lane(self, user_id: str) -> int:
        """Which lane, and which pair of collections, a user is in."""
        return int(user_key(user_id)[0], 16)

    def shard(self, lane: int) -> Shard:
        """The collections of a lane."""
        if lane not in self._shards:
            with translated():
                names = (f"persona-align-records-{lane:x}", f"persona-align-users-{lane:x}")
                self._shards[lane] = Shard(self.client, *names, create=True)
        return self._shards[lane]

    def token(self, user_id: str) -> str:
        """What changes whenever any worker writes to a user."""
        fields = self._again(lambda: self.shard(self.lane(user_id)).signature(user_id))
        return str((fields or {}).get("token", ""))

    def write(self, group: Sequence[Submission]) -> list[BaseException | None]:
        """Write the submissions of one lane: the rows, then the tokens."""
        shard = self.shard(self.lane(group[0].user_id))
        rows: dict[str, Row] = {}
        for submission in group:
            for row in submission.rows:
                rows.setdefault(row.id, row)
        together = list(rows.values())
        for start in range(0, len(together), shard.limit):
            part = together[start : start + shard.limit]
            self._again(lambda part=part: shard.add(part))  # type: ignore[misc]
        self._touch(shard, {submission.user_id for submission in group})
        return [None] * len(group)

    def read(self, user_id: str) -> Iterator[list[Row]]:
        """All rows of a user, in batches, in no order."""
        shard = self.shard(self.lane(user_id))
        yield from self._again(lambda: list(shard.rows_of(user_id)))

    def ids(self, user_id: str) -> list[str]:
        """The row ids of a user."""
        return self._again(lambda: self.shard(self.lane(user_id)).ids(user_id))

    def known(self, user_id: str, ids: Sequence[str]) -> set[str]:
        """Those of some row ids that are there."""
        return self._again(lambda: self.shard(self.lane(user_id)).known(ids))

    def update(self, user_id: str, metadatas: dict[str, dict[str, Any]]) -> None:
        """Change metadata fields of a user's rows."""
        shard = self.shard(self.lane(user_id))
        self._again(lambda: shard.update(metadatas))
        self._touch(shard, {user_id})

    def delete(self, user_id: str, ids: Sequence[str], *, everything: bool) -> None:
        """Take rows of a user, or all and the user, out of the server's sight."""
        shard = self.shard(self.lane(user_id))
        self._again(lambda: shard.delete(ids))
        if everything:
            self._again(lambda: shard.unsign(user_id))
        else:
            self._touch(shard, {user_id})

    def users(self) -> Iterator[str]:
        """Everybody who has records."""
        for lane in range(self.lanes):
            yield from sorted(self._again(lambda lane=lane: self.shard(lane).signatures()))  # type: ignore[misc]

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        for session in self._sessions:
            session.close()

    def _touch(self, shard: Shard, users: set[str]) -> None:
        self._again(lambda: shard.sign({user: {"token": uuid.uuid4().hex} for user in users}))

    def _again(self, call: Callable[[], _T]) -> _T:
        pause = _FIRST_PAUSE
        for _ in range(_ATTEMPTS - 1):
            try:
                return call()
            except StoreUnavailableError:
                time.sleep(pause)
                pause *= 3
        return call()


def check_url(url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        IncompatibleStoreError: It has no host, or names a path.
    """
    parts = urlsplit(url)
    try:
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0) and parts.path in ("", "/")
    except ValueError:
        valid = False
    if not valid:
        raise IncompatibleStoreError(f"{url!r} is not the address of a server.", 'Write it as "http://host:port".')
