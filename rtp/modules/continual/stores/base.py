"""What the stores of real samples have in common: what a sample costs, and what is kept beside it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rtp.errors import UserError
from rtp.utils.checks import check_at_least

SampleBits = Literal[8, 32]
"""Bits of a stored sample's numbers."""
Places = Tensor | slice | tuple[Tensor | slice | int, ...]
"""An index of the places of a store."""
LEVELS = 255  # steps between the numbers of 8 bits
FLOAT_BYTES = torch.float32.itemsize
INTEGER_BYTES = torch.int64.itemsize


class SampleStore(nn.Module, ABC):
    """Real samples in buffers of fixed shape, of which the first few places, or some of each row, are taken.

    Args:
        shape: Places, or rows and places.
        image_shape: (C, H, W) of a sample.
        bits: 32, as in the paper, or 8, see `as_levels`: four times as many samples in the same bytes.

    Attributes:
        images: (*shape, C, H, W) float32, or uint8 in 8 bits; zeros where no sample is.
        ranges: (*shape, C, 2) float32, of the channels of each image; in 8 bits alone.
        labels: (*shape) int64.
        integers_per_sample: Labels and task numbers kept with a sample, int64.

    Raises:
        UserError: If `bits` is another number.
    """

    integers_per_sample: int
    images: Tensor
    ranges: Tensor
    labels: Tensor
    _counts: Tensor  # how much is held and was seen, int64

    def __init__(self, shape: tuple[int, ...], image_shape: tuple[int, int, int], bits: SampleBits) -> None:
        super().__init__()
        if bits not in get_args(SampleBits):
            raise UserError(f"sample_bits is {bits}: use 8 or 32")
        self.image_shape, self.bits = image_shape, bits
        dtype = torch.uint8 if bits == 8 else torch.float32
        self.register_buffer("images", torch.zeros(*shape, *image_shape, dtype=dtype))
        if bits == 8:
            self.register_buffer("ranges", torch.zeros(*shape, image_shape[0], 2))
        self.register_buffer("labels", torch.zeros(shape, dtype=torch.int64))

    @abstractmethod
    def __len__(self) -> int:
        """Samples held."""

    @property
    def bytes_per_sample(self) -> int:
        """What one sample is charged to the budget, see `sample_bytes`.

        Labels and task numbers are not, as in the paper's "total mem size" (table 5).
        """
        return sample_bytes(self.image_shape, self.bits)

    @property
    def floats_per_sample(self) -> int:
        """Numbers of one sample that are charged, of whatever bits: its image's, and in 8 bits the channels' ranges."""
        return math.prod(self.image_shape) + (0 if self.bits == 32 else 2 * self.image_shape[0])

    @property
    def storage_floats(self) -> int:
        """Numbers of the samples held that are charged to the budget."""
        return len(self) * self.floats_per_sample

    @property
    def storage_bytes(self) -> int:
        """What the samples held are charged to the budget."""
        return len(self) * self.bytes_per_sample

    @property
    def other_bytes(self) -> int:
        """Bytes of what the budget leaves out: labels and task numbers of the samples held, and the counters."""
        return len(self) * self.integers_per_sample * INTEGER_BYTES + tensor_bytes([self._counts])

    def images_at(self, places: Places) -> Tensor:
        """Images (m, C, H, W) float32 of m places."""
        images = self.images[places]
        return from_levels(images, self.ranges[places]) if self.bits == 8 else images

    def write_images(self, places: Places, images: Tensor) -> None:
        """Put images (m, C, H, W) into m places."""
        if self.bits == 8:
            self.images[places], self.ranges[places] = as_levels(images.to(self.ranges))
        else:
            self.images[places] = images.to(self.images)


class LabelledStore(SampleStore):
    """Samples in the first places of buffers, each with its label and task.

    Args:
        capacity: Samples it can hold, at least 0.
        image_shape: (C, H, W) of a sample.
        bits: See `SampleStore`.

    Attributes:
        tasks: (capacity at the start) int64, the task of each image.

    Raises:
        UserError: If `capacity` is negative.
    """

    word = "store"
    """What an error calls it."""
    integers_per_sample = 2  # label and task
    tasks: Tensor

    def __init__(self, capacity: int, image_shape: tuple[int, int, int], bits: SampleBits = 32) -> None:
        check_at_least(f"the capacity of a {self.word}", capacity, 0)
        super().__init__((capacity,), image_shape, bits)
        self.register_buffer("tasks", torch.zeros(capacity, dtype=torch.int64))

    def content(self) -> tuple[Tensor, Tensor, Tensor]:
        """All images (m, C, H, W), labels (m,) and tasks (m,) held, m = len, without a draw."""
        held = slice(len(self))
        return self.images_at(held), self.labels[held], self.tasks[held]


def sample_bytes(image_shape: Sequence[int], bits: SampleBits) -> int:
    """Bytes of a stored image (C, H, W): 4 C H W in 32 bits; in 8, C H W and two floats for each channel."""
    return math.prod(image_shape) * bits // 8 + (0 if bits == 32 else image_shape[0] * 2 * FLOAT_BYTES)


def as_levels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Round images to 256 equidistant levels of each channel's own range.

    An image of 8 bits keeps all that it had: a channel that was only shifted and scaled, as a normalisation does, spans
    at most the 255 steps of its file, so that a level is at least as fine.

    Args:
        images: (n, C, H, W).

    Returns:
        Levels (n, C, H, W) uint8, and ranges (n, C, 2), the smallest and the largest number of each channel.
    """
    lowest, highest = images.amin((2, 3)), images.amax((2, 3))
    steps = ((highest - lowest) / LEVELS)[..., None, None]
    levels = (images - lowest[..., None, None]) / torch.where(steps > 0, steps, 1)  # a plain channel is its lowest
    return levels.round().clamp(0, LEVELS).to(torch.uint8), torch.stack([lowest, highest], -1)


def from_levels(levels: Tensor, ranges: Tensor) -> Tensor:
    """Images (n, C, H, W) of the dtype of `ranges` from what `as_levels` returns."""
    lowest, highest = ranges[..., None, None].unbind(2)
    return lowest + levels * ((highest - lowest) / LEVELS)


def tensor_bytes(tensors: list[Tensor]) -> int:
    """Bytes of tensors as they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
