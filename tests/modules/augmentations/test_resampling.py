"""Affine maps of images against cases worked out by hand."""

import torch

from rtp.modules.augmentations.resampling import resampled

IMAGE = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.double)[None, None]


def mapped(rows: list[list[float]]) -> torch.Tensor:
    return resampled(IMAGE, torch.tensor([rows], dtype=torch.double))[0, 0]


def test_the_identity_and_a_mirror_keep_every_pixel() -> None:
    torch.testing.assert_close(mapped([[1, 0, 0], [0, 1, 0]]), IMAGE[0, 0])
    torch.testing.assert_close(mapped([[-1, 0, 0], [0, 1, 0]]), IMAGE[0, 0].flip(1))


def test_a_shift_is_in_pixels_interpolated_and_black_outside() -> None:
    shifted = torch.tensor([[2.0, 3.0, 0.0], [5.0, 6.0, 0.0]], dtype=torch.double)
    torch.testing.assert_close(mapped([[1, 0, 1], [0, 1, 0]]), shifted)
    halfway = (IMAGE[0, 0] + shifted) / 2
    torch.testing.assert_close(mapped([[1, 0, 0.5], [0, 1, 0]]), halfway)


def test_a_quarter_turn_of_an_image_that_is_not_square_does_not_shear_it() -> None:
    # the pixels (0, -0.5) and (0, 0.5) show the points (-0.5, 0) and (0.5, 0), each the mean of four pixels
    turned = mapped([[0, 1, 0], [-1, 0, 0]])
    assert turned.shape == (2, 3)
    torch.testing.assert_close(turned[:, 1], torch.tensor([3.0, 4.0], dtype=torch.double))
