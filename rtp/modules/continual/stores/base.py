"""What the stores of real samples have in common: what a sample costs, and what is kept beside it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

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


def tensor_bytes(tensors: list[Tensor]) -> int:
    """Bytes of tensors as they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
