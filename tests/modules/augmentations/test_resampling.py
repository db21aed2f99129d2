"""Affine maps of images against cases worked out by hand."""

import math

import pytest
import torch

from rtp.modules.augmentations import resampling
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


@pytest.mark.parametrize("size", [(6, 6), (5, 8), (1, 4)])
@pytest.mark.parametrize("num_maps", [1, 3])
def test_gathers_are_grid_sample_with_its_gradient(
    size: tuple[int, int], num_maps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 2, *size, dtype=torch.double, requires_grad=True)
    angle = torch.rand(num_maps, dtype=torch.double) * math.pi
    turned = torch.stack((angle.cos(), angle.sin(), -angle.sin(), angle.cos()), 1).view(-1, 2, 2) * 1.2
    maps = torch.cat((turned, torch.rand(num_maps, 2, 1, dtype=torch.double) * 3 - 1.5), 2)  # shifts leave the image
    usual = resampled(images, maps)
    upstream = torch.randn_like(usual)
    # what a GPU does under `--trainer.deterministic true`
    monkeypatch.setattr(resampling, "grid_sample", lambda *args, **kwargs: pytest.fail("not deterministic"))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    gathered = resampled(images, maps)
    torch.testing.assert_close(gathered, usual, rtol=1e-12, atol=1e-12)
    expected, found = (torch.autograd.grad(result, images, upstream)[0] for result in (usual, gathered))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
