"""A data set whose images say which one they are, so that a sample can be followed through a stream."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.datamodules import ImageDataModule, TaskStream
from rtp.datamodules.base import LabelledImages
from rtp.datamodules.sampling import Split

TRAIN, TEST, SIZE = 200, 48, 4


class Numbered(ImageDataModule):
    """The top left pixel of image i is i, the others are drawn from its label, i % 8."""

    class_names = tuple("abcdefgh")
    image_shape = (1, SIZE, SIZE)

    def load(self, split: Split) -> LabelledImages:
        number = torch.arange(TRAIN if split == "train" else TEST)
        labels = number % 8
        images = torch.stack([torch.roll(torch.arange(16) * 15, int(label)) for label in labels])
        images[:, 0] = number
        return images.to(torch.uint8).view(-1, *self.image_shape), labels


@pytest.fixture
def numbered() -> Numbered:
    """200 training images, of which 40 are for validation, and 48 test images."""
    return Numbered(validation_fraction=0.2, batch_size=7)


class Plain(TaskStream):
    """Tasks that differ in their samples alone."""

    kind = "plain"

    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        return pixels


@pytest.fixture
def stream_of() -> Callable[..., Plain]:
    """A function that makes a stream of three tasks with 45 samples each, ready for a stage."""

    def make(source: ImageDataModule, stage: str = "fit", **arguments: Any) -> Plain:
        stream = Plain(source, **{"tasks": 3, "samples_per_task": 45} | arguments)
        stream.setup(stage)
        return stream

    return make


@pytest.fixture
def numbers() -> Callable[[TaskStream, Tensor], list[int]]:
    """A function that says which images of the data set these are."""

    def read(stream: TaskStream, images: Tensor) -> list[int]:
        numbers: list[int] = (stream.normalisation.invert(images)[:, 0, 0, 0] * 255).round().long().tolist()
        return numbers

    return read
