"""The differentiated steps of the inner loop: truncated back-propagation through time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from rtp.utils.checks import check_at_least


@dataclass(frozen=True)
class Window(ABC):
    """The W consecutive steps that are differentiated; the loop ends with the last of them.

    Args:
        size: W, at least 1.

    Raises:
        UserError: If `size` is below 1.
    """

    size: int

    def __post_init__(self) -> None:
        check_at_least("the size of a window", self.size, 1)

    @abstractmethod
    def end(self, num_steps: int) -> int:
        """The window's last step, in [W, T] and counted from 1, for a loop of T >= W steps."""


class LastSteps(Window):
    """The last W of the T steps."""

    def end(self, num_steps: int) -> int:
        """T."""
        return num_steps


class RandomWindow(Window):
    """W steps that end at a random one, uniform in [W, T]: RaT-BPTT's truncation.

    Feng et al., "Embarrassingly Simple Dataset Distillation", ICLR 2024.
    """

    def end(self, num_steps: int) -> int:
        """A random step, from torch's global generator."""
        return int(torch.randint(self.size, num_steps + 1, ()))
