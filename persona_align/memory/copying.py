"""Copying a shard, all of it or a part, into one or several new ones."""

from collections.abc import Callable, Collection
from typing import Any

from persona_align.errors import StoreUnavailableError
from persona_align.memory.rows import Row, user_key
from persona_align.memory.shard import Shard

__all__ = ["copy_shard"]


def copy_shard(
    old: Shard,
    new: dict[str, Shard],
    without: set[str],
    without_users: Collection[str],
    change: Callable[[list[Row]], list[Row]] | None,
) -> int:
    """Copy rows and users bit for bit into new shards, by the bit prefixes of these; gives how many were left out.

    Raises:
        StoreUnavailableError: Not every row could be read or written.
    """
    ids = old.ids()
    kept = [key for key in ids if key not in without]
    copied = 0
    for rows in old.rows(kept):
        routed: dict[str, list[Row]] = {}
        for row in change(rows) if change else rows:
            routed.setdefault(_target(new, row.metadata["user_id"]), []).append(row)
        for target, part in routed.items():
            new[target].add(part)
        copied += len(rows)
    signatures: dict[str, dict[str, dict[str, Any]]] = {}
    for user, fields in old.signatures().items():
        if user not in without_users:
            fields.pop("user_id")
            signatures.setdefault(_target(new, user), {})[user] = fields
    for target, users in signatures.items():
        new[target].sign(users)
    total = sum(shard.count() for shard in new.values())
    if not copied == total == len(kept):
        raise StoreUnavailableError(
            f"Of {len(kept)} rows {total} were copied, so the shard was left as it was.",
            "Close the memory and open it again: what can be read is recovered.",
        )
    return len(ids) - len(kept)


def _target(shards: dict[str, Shard], user_id: str) -> str:
    if len(shards) == 1:
        return next(iter(shards))
    bits = f"{int(user_key(user_id), 16):0128b}"
    return next(prefix for prefix in shards if bits.startswith(prefix))
