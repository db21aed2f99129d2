"""Images and labels of programs, one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rtp.datamodules.arrays import channels_first, images_of_shape, of_channels, to_bytes, to_floats, to_label
from rtp.errors import DataError, UserError


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (torch.tensor([[0, 255]], dtype=torch.uint8), [[[0, 255]]]),
        (torch.tensor([[[0.0, 0.5, 1.0]]]), [[[0, 128, 255]]]),
        (torch.tensor([[[False, True]]]), [[[0, 255]]]),
        (np.array([[[0], [65535]]], dtype=np.uint16), [[[0, 255]]]),
        (np.array([[[1, 2, 3]]], dtype=np.uint8), [[[1]], [[2]], [[3]]]),
        (Image.new("L", (2, 1), 7), [[[7, 7]]]),
    ],
    ids=["bytes", "floats", "booleans", "16 bits", "colour last", "PIL"],
)
def test_one_image_becomes_bytes_with_channels_first(image: Any, expected: list[list[list[int]]]) -> None:
    assert to_bytes(image, "it").tolist() == expected


@pytest.mark.parametrize("image", [torch.tensor([[[-0.1]]]), torch.tensor([[[1.1]]]), torch.tensor([[[torch.nan]]])])
def test_floats_outside_0_to_1_are_refused(image: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"it holds torch.float32 from .* give pixels that are not normalised"):
        to_floats(image, "it")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(4, 4, 3), r"4 channels and not 1 or 3: channels come first, use image.permute\(2, 0, 1\)"),
        (torch.zeros(2, 5, 5), "2 channels and not 1 or 3: choose or convert channels"),
        (torch.zeros(5), r"a tensor of shape \(5,\), not \(C, H, W\)"),
        ("cat.png", "it is str, not a PIL image"),
    ],
)
def test_other_shapes_and_kinds_are_refused_with_a_fix(images: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        channels_first(images, 3, "it")


@pytest.mark.parametrize("label", [3, 3.0, np.int64(3), np.array([3]), torch.tensor([[3]])])
def test_a_label_is_one_integer(label: Any) -> None:
    assert to_label(label, 0) == 3


@pytest.mark.parametrize("label", [-1, 2.5, "3", None, float("nan"), float("inf"), np.array([1, 2])])
def test_what_is_no_label_is_named(label: Any) -> None:
    with pytest.raises(DataError, match="The label of image 5 is"):
        to_label(label, 5)


def test_colour_becomes_grey_as_pillow_converts_it() -> None:
    colour = torch.tensor([[[[10]], [[200]], [[30]]]], dtype=torch.uint8)
    assert of_channels(colour, 1).item() == Image.new("RGB", (1, 1), (10, 200, 30)).convert("L").getpixel((0, 0))
    assert of_channels(of_channels(colour, 1), 3).shape == (1, 3, 1, 1)


def test_a_batch_of_one_shape() -> None:
    raw = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    for images, alone in ((raw, False), (raw.permute(0, 2, 3, 1).numpy(), False), (raw[1], True)):
        batch, is_one = images_of_shape(images, (3, 4, 5))
        assert is_one is alone
        assert torch.equal(batch, raw[1:] if alone else raw)
    assert torch.equal(images_of_shape(raw.double() / 255, (3, 4, 5))[0], raw.double().div(255).float())
    with pytest.raises(UserError, match=r"^images are \(2, 3, 4, 5\) uint8, not \(n, 1, 4, 5\)$"):
        images_of_shape(raw, (1, 4, 5))
