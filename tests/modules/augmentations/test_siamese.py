"""DSA's family: each operation by hand, what zero strength does, and the contract of an augmentation."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.augmentations.siamese import Operation, SiameseAugmentation

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
NUM_DRAWS = 10_000
MIDDLE = 0.5  # the number in [0, 1) that draws the middle of a range


def only(operation: Operation, **strengths: Any) -> SiameseAugmentation:
    return SiameseAugmentation((operation,), **strengths)


def draw(first: float, second: float = MIDDLE, third: float = MIDDLE, operation: int = 0) -> Tensor:
    return torch.tensor([[operation, first, second, third]], dtype=torch.float32)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


ZERO = {"brightness": 0, "saturation": 0, "contrast": 0, "crop": 0, "cutout": 0, "scale": 1, "degrees": 0}


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "flip"])
@pytest.mark.parametrize(("size", "tolerance"), [(8, 1e-6), (28, 1e-5)])
def test_zero_strength_is_the_identity(operation: Operation, size: int, tolerance: float) -> None:
    augmentation = only(operation, **ZERO)
    images = torch.rand(50, 3, size, size)
    transformed = augmentation.apply(images, augmentation.sample(50, "cpu"))
    torch.testing.assert_close(transformed, images, rtol=0, atol=tolerance)


def test_brightness_is_added(images: Tensor) -> None:
    color = only("color", brightness=0.4)
    torch.testing.assert_close(color.apply(images, draw(0.0)), images - 0.4)
    torch.testing.assert_close(color.apply(images, draw(0.75)), images + 0.2)


def test_saturation_goes_from_grey_to_twice_the_colour(images: Tensor) -> None:
    grey = images.mean(1, keepdim=True)
    torch.testing.assert_close(only("color").apply(images, draw(MIDDLE, 0.0)), grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(only("color").apply(images, draw(MIDDLE, 0.75)), grey + 1.5 * (images - grey))
    one_channel = images[:, :1]
    torch.testing.assert_close(only("color").apply(one_channel, draw(MIDDLE, 0.0)), one_channel)


def test_contrast_is_around_the_mean_of_each_image(images: Tensor) -> None:
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(only("color").apply(images, draw(MIDDLE, MIDDLE, 0.0)), mean + 0.5 * (images - mean))


def test_colours_are_changed_one_after_the_other(images: Tensor) -> None:
    bright = images - 0.5
    vivid = bright.mean(1, keepdim=True) + 1.5 * (bright - bright.mean(1, keepdim=True))
    mean = vivid.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(only("color").apply(images, draw(0.0, 0.75, 0.0)), mean + 0.5 * (vivid - mean))


def test_crop_shifts_by_whole_pixels_and_fills_with_zero(images: Tensor) -> None:
    crop = only("crop", crop=0.25)  # 2 of 8 pixels: shifts -2, ..., 2 for fifths of [0, 1)
    expected = torch.zeros_like(images)
    expected[..., 1:, :-2] = images[..., :-1, 2:]  # two pixels from the right, one from above
    torch.testing.assert_close(crop.apply(images, draw(0.9, 0.3)), expected)
    assert torch.equal(only("crop", crop=0.05).apply(images, draw(0.0, 0.0)), images)  # 0.4 pixels are none


@pytest.mark.parametrize(
    ("first", "second", "rows", "columns"),
    [
        (0.0, 0.0, slice(0, 1), slice(0, 1)),  # 2x2 around the upper left corner: one pixel is in the image
        (0.5, 0.99, slice(1, 3), slice(3, 4)),
        (0.3, 0.5, slice(0, 2), slice(1, 3)),
    ],
)
def test_cutout_sets_a_square_to_zero(first: float, second: float, rows: slice, columns: slice) -> None:
    expected = torch.ones(2, 1, 4, 4)
    # the middle is one of the 5 lines 0, ..., 4 of an image of 4 pixels, and the side 2
    expected[..., rows, columns] = 0
    assert torch.equal(only("cutout").apply(torch.ones(2, 1, 4, 4), draw(first, second)), expected)


def test_cutout_of_an_odd_side_has_a_pixel_in_its_middle() -> None:
    expected = torch.ones(1, 1, 6, 6)
    expected[..., 0:2, 4:6] = 0  # around (0, 5)
    assert torch.equal(only("cutout").apply(torch.ones(1, 1, 6, 6), draw(0.1, 0.99)), expected)


def test_flip_mirrors_left_and_right(images: Tensor) -> None:
    torch.testing.assert_close(only("flip").apply(images, draw(0.49)), images.flip(-1))
    torch.testing.assert_close(only("flip").apply(images, draw(0.51)), images)


def test_scale_stretches_the_sides_independently() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[..., 1:3, 1:3] = 1
    grown = only("scale", scale=2).apply(image, draw(0.0, 1 / 3))  # half the image becomes its width; height stays
    # pixel centres at +-1.5, +-0.5 show +-0.75, +-0.25: the outer ones 1/4 of the way to the dark pixels
    row = torch.tensor([0.75, 1.0, 1.0, 0.75])
    expected = torch.stack([torch.zeros(4), row, row, torch.zeros(4)])
    torch.testing.assert_close(grown[0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("first", "quarters"), [(1.0, 1), (0.0, -1)])
def test_rotation_is_counter_clockwise(images: Tensor, first: float, quarters: int) -> None:
    rotated = only("rotate", degrees=90).apply(images, draw(first))
    torch.testing.assert_close(rotated, images.rot90(quarters, (-2, -1)), rtol=0, atol=1e-5)


# The draws -------------------------------------------------------------------------------------------------------


def test_each_operation_has_the_same_chance() -> None:
    augmentation = SiameseAugmentation()
    draws = augmentation.sample(NUM_DRAWS, "cpu", torch.Generator().manual_seed(0))
    assert draws.shape == (NUM_DRAWS, 4)
    counts = draws[:, 0].long().bincount()
    assert len(counts) == 6
    assert (counts - NUM_DRAWS / 6).abs().max() < 5 * math.sqrt(NUM_DRAWS * 5 / 36)  # five standard deviations
    numbers = draws[:, 1:]
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert (numbers.mean(0) - 0.5).abs().max() < 5 / math.sqrt(12 * NUM_DRAWS)


def test_same_seed_same_draw() -> None:
    first, again, other = (
        SiameseAugmentation().sample(9, "cpu", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_chosen_operations_are_drawn(images: Tensor) -> None:
    augmentation = SiameseAugmentation(("cutout", "color"))
    assert set(augmentation.sample(100, "cpu")[:, 0].tolist()) == {0, 1}
    assert torch.equal(augmentation.apply(images, draw(0.2, operation=0)), only("cutout").apply(images, draw(0.2)))
    torch.testing.assert_close(
        augmentation.apply(images, draw(0.2, operation=1)), only("color").apply(images, draw(0.2))
    )


def test_one_draw_for_all_is_the_same_draw_for_each(images: Tensor) -> None:
    augmentation = SiameseAugmentation()
    draws = augmentation.sample(30, "cpu", torch.Generator().manual_seed(0))
    assert len(draws[:, 0].unique()) == 6
    for parameters in draws.split(1):
        assert torch.equal(augmentation.apply(images, parameters), augmentation.apply(images, parameters.repeat(3, 1)))
    separate = augmentation.apply(images[:1].expand(30, -1, -1, -1), draws)
    for image, parameters in zip(separate, draws.split(1), strict=True):
        torch.testing.assert_close(image, augmentation.apply(images[:1], parameters)[0])


def test_gradient() -> None:
    augmentation = SiameseAugmentation()
    parameters = torch.tensor([[operation, 0.3, 0.9, 0.1] for operation in range(6)])
    images = torch.rand(6, 2, 4, 5, dtype=torch.float64, requires_grad=True)

    def apply(images: Tensor) -> Tensor:
        return augmentation.apply(images, parameters)

    assert apply(images).dtype == torch.float64
    assert torch.autograd.gradcheck(apply, images)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("size", [3, 33, 200])
def test_the_ends_of_the_range_stay_within_it(number: float, size: int) -> None:
    # 1 - 2^-24 times the number of places is rounded up in float32
    shifted = only("crop", crop=0.5).apply(torch.ones(1, 1, size, size), draw(number, number))
    assert shifted.sum() > 0
    assert only("cutout").apply(torch.ones(1, 1, size, size), draw(number, number)).sum() < size**2


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [(), ("colour",), ("crop", "crop")])
def test_unknown_operations(operations: Any) -> None:
    with pytest.raises(UserError, match=r"^operations must be some of color, crop, cutout, flip, scale, rotate, each"):
        SiameseAugmentation(operations)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("brightness", -1), ("saturation", 2), ("contrast", 1.1), ("crop", -0.1), ("cutout", 2), ("scale", 0.9)),
        *(("degrees", 181), ("degrees", math.nan)),
    ],
)
def test_strengths_out_of_range(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{name} must lie in \[.*\], got {value}$"):
        SiameseAugmentation(**{name: value})  # type: ignore[arg-type]
