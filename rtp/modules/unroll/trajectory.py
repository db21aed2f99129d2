"""The weights of the inner loop, stored for the backward pass."""

import torch
from torch import Tensor

from rtp.modules.unroll.inner_optimizer import State

SHARE_OF_DEVICE = 0.5
"""Fraction of a GPU's free memory for the trajectory; the activations of a step need the rest."""


class Trajectory:
    """A stack of (theta_{t-1}, residuals of step t), on the weights' device or, if `on_host`, in the host's memory."""

    def __init__(self, on_host: bool) -> None:
        self._on_host = on_host
        self._steps: list[tuple[Tensor, ...]] = []

    def push(self, theta: Tensor, residuals: State) -> None:
        """Store a step."""
        self._device = theta.device
        self._steps.append(tuple(tensor.cpu() if self._on_host else tensor for tensor in (theta, *residuals)))

    def pop(self) -> tuple[Tensor, State]:
        """Remove the latest step and return it, on the weights' device."""
        theta, *residuals = (tensor.to(self._device) for tensor in self._steps.pop())
        return theta, tuple(residuals)


def fits(num_steps: int, tensors_per_step: int, theta: Tensor, free: int) -> bool:
    """Whether steps with so many tensors like theta (P,) may stay on a device with `free` bytes."""
    return num_steps * tensors_per_step * theta.nbytes <= SHARE_OF_DEVICE * free


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that are free, or unused in the part of PyTorch's cache that any operation may take.

    CUDA graphs have pools of their own, whose unused blocks their own replays alone can take.
    """
    free, _ = torch.cuda.mem_get_info(device)
    index = torch.cuda.current_device() if device.index is None else device.index
    own = [segment for segment in torch.cuda.memory_snapshot() if segment["device"] == index]
    shared = [segment for segment in own if tuple(segment["segment_pool_id"]) == (0, 0)]
    return int(free + sum(segment["total_size"] - segment["active_size"] for segment in shared))
