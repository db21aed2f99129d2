import math

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.augmentations.siamese import FlipOrRotate

HALF_TURN = FlipOrRotate(180)
IDENTITY = torch.tensor([[1.0, 0.9, 0.0, 0.0]])  # a flip that does not mirror
MIRROR = torch.tensor([[1.0, 0.1, 0.0, 0.0]])
NUM_DRAWS = 10_000


def rotation(degrees: float) -> Tensor:
    """Parameters of a counter-clockwise rotation by `HALF_TURN`, (1, 4)."""
    return torch.tensor([[0.0, (degrees / 180 + 1) / 2, 0.0, 0.0]])


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def draws(generator: torch.Generator) -> Tensor:
    return FlipOrRotate(15).sample(NUM_DRAWS, "cpu", generator)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (64, 64), (16, 32)])
def test_identity_and_flip_are_exact_for_powers_of_two(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    assert torch.equal(HALF_TURN.apply(images, IDENTITY), images)
    assert torch.equal(HALF_TURN.apply(images, MIRROR), images.flip(-1))


@pytest.mark.parametrize("size", [(28, 28), (7, 30)])
def test_identity_and_flip(size: tuple[int, int]) -> None:
    # coordinates are rounded to some 2^-24 of the image's side, which moves the sampled points by that much
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(HALF_TURN.apply(images, IDENTITY), images, rtol=0, atol=1e-5)
    torch.testing.assert_close(HALF_TURN.apply(images, MIRROR), images.flip(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (-90, -1), (180, 2)])
def test_right_angles_turn_counter_clockwise(degrees: float, quarters: int) -> None:
    # torch.rot90 turns from the first to the second axis: with (-2, -1), up becomes left
    images = torch.rand(2, 3, 6, 6)
    expected = torch.rot90(images, quarters, (-2, -1))
    torch.testing.assert_close(HALF_TURN.apply(images, rotation(degrees)), expected, rtol=0, atol=1e-5)


def test_a_quarter_turn_of_a_marked_pixel() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 1] = 1  # top
    turned = torch.zeros(1, 1, 3, 3)
    turned[0, 0, 1, 0] = 1  # left
    torch.testing.assert_close(HALF_TURN.apply(image, rotation(90)), turned, rtol=0, atol=1e-6)


def test_rotation_of_a_non_square_image_keeps_angles_and_lengths() -> None:
    image = torch.zeros(1, 1, 3, 7)
    image[0, 0, 1, 2:5] = torch.tensor([1.0, 2.0, 3.0])  # a row around the centre
    turned = torch.zeros(1, 1, 3, 7)
    turned[0, 0, :, 3] = torch.tensor([3.0, 2.0, 1.0])  # becomes a column, its right end on top
    torch.testing.assert_close(HALF_TURN.apply(image, rotation(90)), turned, rtol=0, atol=1e-5)


def test_outside_is_zero_and_inside_is_interpolated() -> None:
    turned = HALF_TURN.apply(torch.ones(1, 1, 9, 9), rotation(45))[0, 0]
    assert turned[0, 0] == 0  # sampled sqrt(32) = 5.7 pixels from the centre, beyond the sides' 4.5 by over a pixel
    torch.testing.assert_close(turned[1:-1, 4], torch.ones(7))  # up to 3 pixels from the centre

    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1
    # the pixel on the right is sampled at (cos 45, sin 45) from the centre, which has this weight there
    weight = (1 - math.sqrt(0.5)) ** 2
    assert HALF_TURN.apply(image, rotation(45))[0, 0, 1, 2].item() == pytest.approx(weight, abs=1e-6)


def test_choices_over_many_draws(draws: Tensor) -> None:
    assert draws.shape == (NUM_DRAWS, 4)
    rotated = draws[:, 0] == 0
    mirrored = ~rotated & (draws[:, 1] < 0.5)
    untouched = ~rotated & ~mirrored
    tolerance = 5 * math.sqrt(0.25 * NUM_DRAWS)  # five standard deviations of a binomial, at most: p = 1/2
    assert abs(int(rotated.sum()) - NUM_DRAWS / 2) < tolerance
    assert abs(int(mirrored.sum()) - NUM_DRAWS / 4) < tolerance
    assert abs(int(untouched.sum()) - NUM_DRAWS / 4) < tolerance

    angles = 15 * (2 * draws[rotated, 1] - 1)
    assert angles.abs().max() <= 15
    # five standard errors; a uniform variable's standard deviation is its range / sqrt(12)
    assert angles.mean().item() == pytest.approx(0, abs=5 * 30 / math.sqrt(12 * len(angles)))
    assert angles.abs().mean().item() == pytest.approx(7.5, abs=5 * 15 / math.sqrt(12 * len(angles)))


def test_same_seed_same_draw(draws: Tensor) -> None:
    augmentation = FlipOrRotate(15)
    assert torch.equal(augmentation.sample(NUM_DRAWS, "cpu", torch.Generator().manual_seed(0)), draws)
    assert not torch.equal(augmentation.sample(NUM_DRAWS, "cpu", torch.Generator().manual_seed(1)), draws)
    torch.manual_seed(7)
    first = augmentation.sample(3, "cpu")
    torch.manual_seed(7)
    assert torch.equal(augmentation.sample(3, "cpu"), first)


def test_no_rotation_with_zero_degrees(generator: torch.Generator) -> None:
    images = torch.rand(100, 1, 8, 8)
    shown = FlipOrRotate(0).apply(images, FlipOrRotate(0).sample(100, "cpu", generator))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(shown, images, strict=True))


def test_siamese_and_image_by_image() -> None:
    augmentation = HALF_TURN
    images = torch.rand(4, 3, 8, 8)
    parameters = torch.cat([IDENTITY, MIRROR, rotation(10), rotation(-15)])
    separate = augmentation.apply(images, parameters)
    for index in range(4):
        siamese = augmentation.apply(images, parameters[index : index + 1])
        assert torch.equal(siamese, augmentation.apply(images, parameters[[index] * 4]))
        torch.testing.assert_close(separate[index], siamese[index])


@pytest.mark.parametrize("num_parameters", [1, 2])
def test_gradient(num_parameters: int) -> None:
    parameters = rotation(12).expand(num_parameters, 4)
    images = torch.rand(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)

    def apply(images: Tensor) -> Tensor:
        return HALF_TURN.apply(images, parameters)

    assert apply(images).dtype == torch.float64
    assert torch.autograd.gradcheck(apply, images)


def test_autocast_does_not_move_pixels() -> None:
    images = torch.rand(2, 3, 32, 32)
    expected = HALF_TURN.apply(images, rotation(10))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(HALF_TURN.apply(images, rotation(10)), expected)


@pytest.mark.parametrize("degrees", [-1.0, 181.0, math.nan])
def test_degrees_out_of_range(degrees: float) -> None:
    with pytest.raises(UserError, match=rf"^max_degrees must lie in \[0, 180\], got {degrees}$"):
        FlipOrRotate(degrees)


def test_the_base_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Augmentation()  # type: ignore[abstract]
