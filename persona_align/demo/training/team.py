"""Several processes that train one model together, one thread each: on a busy machine they wait for each other less."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["Team"]

T = TypeVar("T")


class Team:
    """This process among those that train together; alone by default."""

    def __init__(self, rank: int = 0, workers: int = 1, meeting: str = "") -> None:
        self.rank, self.workers = rank, workers
        if workers > 1:
            import torch.distributed as dist

            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)

    def own(self, stream: Iterator[T]) -> Iterator[T]:
        """This worker's part of a stream that every worker can produce."""
        for number, item in enumerate(stream):
            if number % self.workers == self.rank:
                yield item

    def summed(self, parameters: Sequence[Any], losses: dict[str, float]) -> dict[str, float]:
        """Sum the gradients, in place, and the losses over all workers."""
        if self.workers == 1:
            return losses
        import torch
        import torch.distributed as dist

        gradients = [p.grad for p in parameters]
        flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor(list(losses.values()))])
        dist.all_reduce(flat)
        place = 0
        for gradient in gradients:
            gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
            place += gradient.numel()
        return dict(zip(losses, flat[place:].tolist(), strict=True))

    def leave(self) -> None:
        """Say goodbye to the others."""
        if self.workers > 1:
            import torch.distributed as dist

            dist.destroy_process_group()
