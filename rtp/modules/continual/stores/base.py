"""What the stores of real samples have in common: what a sample costs, and what is kept beside it."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rtp.utils.checks import check_at_least

FLOAT_BYTES = torch.float32.itemsize
INTEGER_BYTES = torch.int64.itemsize


class SampleStore(nn.Module, ABC):
    """Real samples in buffers of fixed shape, of which the first few places, or some of each row, are taken.

    Attributes:
        integers_per_sample: Labels and task numbers kept with a sample, int64.
    """

    integers_per_sample: int
    _counts: Tensor  # how much is held and was seen, int64

    @abstractmethod
    def __len__(self) -> int:
        """Samples held."""

    @property
    @abstractmethod
    def bytes_per_sample(self) -> int:
        """What one sample is charged to the budget: its image, and logits if they are kept, in numbers of 32 bits."""

    @property
    def storage_bytes(self) -> int:
        """What the samples held are charged to the budget."""
        return len(self) * self.bytes_per_sample

    @property
    def other_bytes(self) -> int:
        """Bytes of what the budget leaves out: labels and task numbers of the samples held, and the counters."""
        return len(self) * self.integers_per_sample * INTEGER_BYTES + tensor_bytes([self._counts])


class LabelledStore(SampleStore):
    """Samples in the first places of buffers, each with its label and task.

    Args:
        capacity: Samples it can hold, at least 0.
        image_shape: (C, H, W) of a sample.

    Attributes:
        images: (capacity at the start, C, H, W) float32; the first `len` are samples, the others zeros.
        labels: int64, one for each image.
        tasks: int64, the task of each image.

    Raises:
        UserError: If `capacity` is negative.
    """

    word = "store"
    """What an error calls it."""
    integers_per_sample = 2  # label and task
    images: Tensor
    labels: Tensor
    tasks: Tensor

    def __init__(self, capacity: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        check_at_least(f"the capacity of a {self.word}", capacity, 0)
        self.register_buffer("images", torch.zeros(capacity, *image_shape))
        self.register_buffer("labels", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("tasks", torch.zeros(capacity, dtype=torch.int64))

    @property
    def bytes_per_sample(self) -> int:
        """Those of one image, without label and task, as in the paper's "total mem size" (table 5)."""
        return math.prod(self.images.shape[1:]) * FLOAT_BYTES

    def content(self) -> tuple[Tensor, Tensor, Tensor]:
        """All images (m, C, H, W), labels (m,) and tasks (m,) held, m = len, without a draw."""
        return self.images[: len(self)], self.labels[: len(self)], self.tasks[: len(self)]


def tensor_bytes(tensors: list[Tensor]) -> int:
    """Bytes of tensors as they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
