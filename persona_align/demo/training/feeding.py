"""Batches that other processes make while this one trains: a GPU learns faster than one process can write."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

__all__ = ["fed"]

T = TypeVar("T")


def fed(stream: Callable[[int, int], Iterator[T]], *, seed: int, skip: int, processes: int) -> Iterator[T]:
    """The batches of `stream(seed, skip)`, or of one such stream a process, each with a seed of its own, by turns.

    Args:
        stream: Makes an endless seeded stream that leaves out its first `skip` batches.
        seed: Of all; the same seed and number of processes give the same batches.
        skip: Batches to leave out over all streams.
        processes: How many make batches; 0 makes them here.
    """
    if not processes:
        return stream(seed, skip)
    from torch.utils.data import DataLoader

    made = _parts(stream, seed, skip, processes)
    return iter(DataLoader(made, batch_size=None, num_workers=processes, prefetch_factor=4))


def _parts(stream: Callable[[int, int], Iterator[Any]], seed: int, skip: int, processes: int) -> Any:
    from torch.utils.data import IterableDataset, get_worker_info

    class Parts(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            # The first process begins, so it goes on with whichever stream's turn it is after `skip` batches.
            info = get_worker_info()
            number = ((info.id if info else 0) + skip) % processes
            left = skip // processes + (number < skip % processes)
            return stream(1000 * (seed + 1) + number, left)

    return Parts()
