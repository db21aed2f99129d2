"""The weights that the inner loop went through, kept for the way back."""

import logging

import torch
from torch import Tensor

from rtp.modules.unroll.inner_optimizer import State

log = logging.getLogger(__name__)

SHARE_OF_DEVICE = 0.5
"""Of the memory that is free on a GPU, what the trajectory may take; a step's own activations need the rest."""


class Trajectory:
    """A stack of (theta_{t-1}, what the optimizer's adjoint of step t needs), on the device or in the host's memory.

    Args:
        on_host: Whether tensors are kept in the host's memory and brought back when they are popped.
    """

    def __init__(self, on_host: bool) -> None:
        self._on_host = on_host
        self._steps: list[tuple[Tensor, ...]] = []
        self._device = torch.device("cpu")

    def push(self, theta: Tensor, residuals: State) -> None:
        """Keep a step."""
        self._device = theta.device
        tensors = (theta, *residuals)
        self._steps.append(tuple(tensor.cpu() for tensor in tensors) if self._on_host else tensors)

    def pop(self) -> tuple[Tensor, State]:
        """Give the latest step back."""
        theta, *residuals = (tensor.to(self._device) for tensor in self._steps.pop())
        return theta, tuple(residuals)


def fits(num_steps: int, tensors_per_step: int, theta: Tensor, free: int) -> bool:
    """Whether a trajectory may stay on the device.

    Args:
        num_steps: Steps that are kept.
        tensors_per_step: Vectors as long as theta that are kept of each.
        theta: (P,) weights.
        free: Bytes of the device's memory that are not in use.
    """
    return num_steps * tensors_per_step * theta.nbytes <= SHARE_OF_DEVICE * free


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that are free or cached by PyTorch without being used."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
