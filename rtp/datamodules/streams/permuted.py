"""Permutations: each task shuffles the pixels of every image in its own way."""

import torch
from torch import Tensor

from rtp.datamodules.streams.base import TaskStream
from rtp.utils.seeds import derived_seed


class PermutedTasks(TaskStream):
    """The data set with permuted pixels, one fixed permutation per task, including the first task.

    MNIST Permutations (Kirkpatrick et al., PNAS 2017; section 5.2). The channels of a pixel stay together.
    The arguments are those of `TaskStream`.
    """

    kind = "permuted"

    def permutation(self, task: int) -> Tensor:
        """Where each pixel of a task's images comes from, (H * W,) int64."""
        _, height, width = self.image_shape
        generator = torch.Generator().manual_seed(derived_seed(self.seed, task))
        return torch.randperm(height * width, generator=generator)

    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        """See `TaskStream.transformed`."""
        order = self.permutation(task).to(pixels.device)
        return pixels.flatten(2)[:, :, order].view(pixels.shape)
