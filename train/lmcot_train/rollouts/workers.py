"""Several processes that train one policy (`accelerate launch`), or a single one.

Each process samples and scores its share of the prompts; then all of them hold the whole batch, and each learns from
its share of every minibatch. The seed of a draw and the divisor of a loss (all tokens of the minibatch) do not depend
on the number of processes, so they learn what one process would, up to the order of sums.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from lmcot_train.run_folder import process_count

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Workers:
        """Join the processes that were launched together (the launcher sets WORLD_SIZE), if there are any."""
        if process_count() == 1:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(_leave)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes files and asks for rewards."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Return the items that this process works on."""
        return list(items[self.rank :: self.count])

    def gather(self, share: list[T]) -> list[T]:
        """Return the results of all processes for their shares, in the order of the items."""
        if self.count == 1:
            return share
        shares: list[list[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(shares, share)
        longest = max(map(len, shares))
        return [part[i] for i in range(longest) for part in shares if i < len(part)]

    def from_first(self, value: T) -> T:
        """Return the value of the first process."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over all processes; a process without a share has none, and adds 0."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self.sum(parameter.grad)


def _leave() -> None:
    """Leave the group: its threads abort a process that ends while they wait for the others."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
