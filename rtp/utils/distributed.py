"""Collective operations of processes that train together; no-ops on a single process."""

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def rank_and_world_size() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) for a single process."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def mean_over_ranks(value: Tensor) -> Tensor:
    """Detached mean over all processes, which all call this with one shape, on the training device."""
    mean = value.detach().clone()
    if (world_size := rank_and_world_size()[1]) > 1:
        dist.all_reduce(mean)
        mean /= world_size
    return mean


def all_gather(value: Value) -> list[Value]:
    """Collect a picklable value, None included, from every process by rank; every process must call this."""
    values = [value] * rank_and_world_size()[1]
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def shard_indices(count: int) -> range:
    """This process's indices below `count`: rank, rank + N, rank + 2N, ... of N processes."""
    rank, world_size = rank_and_world_size()
    return range(rank, count, world_size)


def interleave(parts: Sequence[Sequence[Value]]) -> tuple[Value, ...]:
    """Undo `shard_indices`: merge N parts, of which part r holds the results of r, r + N, r + 2N, ..."""
    count = sum(len(part) for part in parts)
    return tuple(parts[number % len(parts)][number // len(parts)] for number in range(count))
