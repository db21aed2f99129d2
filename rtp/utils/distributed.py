"""Several processes that train one memory: what they exchange. A process alone exchanges nothing."""

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def rank_and_world_size() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are; (0, 1) for a process alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes, without a graph; each of them has to call this.

    Args:
        value: A tensor of the same shape on every process, on the training device.
    """
    mean = value.detach().clone()
    _, world_size = rank_and_world_size()
    if world_size > 1:
        dist.all_reduce(mean)
        mean /= world_size
    return mean


def gathered(value: Value) -> list[Value]:
    """What every process has, in the order of their numbers; each of them has to call this.

    Args:
        value: Anything that can be pickled; None keeps its process's place too.
    """
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return [value]
    values = [value] * world_size
    dist.all_gather_object(values, value)
    return values


def share(count: int) -> range:
    """The numbers of this process's networks.

    Args:
        count: Networks of all processes together.
    """
    rank, world_size = rank_and_world_size()
    return range(rank, count, world_size)


def in_turn(parts: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Put what was shared out in turn back into its order.

    Args:
        parts: Part r holds numbers r, r + N, r + 2N, ... of N parts.
    """
    count = sum(len(part) for part in parts)
    return tuple(parts[number % len(parts)][number // len(parts)] for number in range(count))
