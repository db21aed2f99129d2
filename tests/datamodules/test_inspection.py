"""Images that look like a mistake: refused where nothing can be learned, otherwise warned of by name."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.datamodules import ImageDataModule
from rtp.errors import DataError


class Given(ImageDataModule):
    """Whatever images it is given, two classes in turn."""

    class_names = ("cat", "dog")
    image_shape = (1, 4, 4)

    def __init__(self, images: Tensor, shape: Any = None) -> None:
        super().__init__()
        self.images = images
        self.image_shape = shape or tuple(images.shape[1:])

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        return self.images, torch.arange(len(self.images)) % 2


def noise(low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_one_value_in_all_images_is_refused(value: int) -> None:
    message = f"Every pixel of the training images of given is {value} of 0..255: check how they are read"
    with pytest.raises(DataError, match=message):
        Given(torch.full((20, 1, 4, 4), value, dtype=torch.uint8)).setup("fit")


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4), (4, 8, 8)])
def test_channels_are_checked_before_anything_is_trained(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=rf"images of {shape[0]} channels .*, not 1 or 3: channels come first"):
        Given(torch.randint(256, (20, *shape), dtype=torch.uint8)).setup("fit")


def test_constant_images_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    images = noise()
    images[[1, 4, 5]] = 9
    Given(images).setup("fit")
    # one of them may have gone to the validation set
    assert "training images of given are of one value each, the first in class 'dog'" in caplog.text


def test_a_class_of_equal_images_is_named(caplog: pytest.LogCaptureFixture) -> None:
    images = noise()
    images[1::2] = images[1]
    Given(images).setup("fit")
    assert "all 9 training images of class 'dog' of given are equal" in caplog.text


@pytest.mark.parametrize(("low", "high"), [(0, 16), (240, 256), (100, 110)])
def test_unused_grey_levels_are_named(low: int, high: int, caplog: pytest.LogCaptureFixture) -> None:
    Given(noise(low, high)).setup("fit")
    assert f"use {high - low} of 256 levels, {low} to {high - 1}" in caplog.text


def test_ordinary_images_pass_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    Given(noise()).setup("fit")
    assert not caplog.records
