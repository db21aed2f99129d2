"""Differentiable augmentation: random transforms whose parameters are drawn apart from their application."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from rtp.errors import UserError


class Augmentation(ABC):
    """A random transform of images, cut into a draw of parameters and a pure function of images and them.

    Siamese, as in an outer step (section 5.1, after [1]): `sample(1)` once, then `apply` to the recalled and
    to the real images. Image by image, as when a network is retrained: `sample(n)`.

    [1] Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.
    """

    @abstractmethod
    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        """Draw parameters.

        Args:
            num: How many independent draws.
            device: Where the parameters are made.
            generator: Source of the randomness, on `device`; None is the device's global generator.

        Returns:
            (num, ...) parameters.
        """

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Transform images, differentiably.

        Args:
            images: (n, C, H, W), floating point.
            parameters: From `sample`: (n, ...), one draw for each image, or (1, ...), one draw for them all.

        Returns:
            (n, C, H, W) images of the same dtype.
        """


@dataclass(frozen=True)
class FlipOrRotate(Augmentation):
    """Flip or rotation, with equal chance; a flip mirrors left and right half of the time (section A.1).

    This is the authors' strategy "flip_rotate" for CIFAR10 and CIFAR100. Their code draws the choice and the
    angle from one seed, so that one depends on the other, and makes one choice for a minibatch when a network
    is retrained; here all draws are independent. Positive angles turn counter-clockwise.

    The parameters of a draw are a 2x2 matrix. It takes a point of the result, (x, y) in pixels from the
    centre with y downwards, to the point of the image that is shown there: interpolated bilinearly, 0 outside
    the image.

    Args:
        max_degrees: Angles are uniform in +-max_degrees, within [0, 180]; the authors' code has 15.

    Raises:
        UserError: If `max_degrees` is out of its range.
    """

    max_degrees: float = 15.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.max_degrees <= 180:
            raise UserError(f"max_degrees must lie in [0, 180], got {self.max_degrees}")

    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        """Draw matrices, (num, 2, 2); see `Augmentation.sample`."""
        branch, flip, turn = torch.rand(3, num, device=device, generator=generator)  # each (num,), in [0, 1)
        rotated = branch < 0.5
        mirrored = ~rotated & (flip < 0.5)
        angles = torch.where(rotated, math.radians(self.max_degrees) * (2 * turn - 1), 0.0)
        cos, sin = angles.cos(), angles.sin()
        rows = (torch.where(mirrored, -cos, cos), -sin, sin, cos)  # a mirrored image has angle 0
        return torch.stack(rows, dim=-1).view(num, 2, 2)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Apply matrices, (n, 2, 2) or (1, 2, 2); see `Augmentation.apply`.

        PyTorch differentiates grid_sample once, not twice (2.11) or not in forward mode (2.15): augment before the
        inner loop, which is differentiated twice.
        """
        rows = parameters.to(images.dtype)
        return resampled(images, torch.cat((rows, torch.zeros_like(rows[..., :1])), dim=-1))


def resampled(images: Tensor, maps: Tensor) -> Tensor:
    """Move the pixels of images by affine maps, interpolated bilinearly, 0 outside the image.

    Args:
        images: (n, C, H, W).
        maps: (n, 2, 3) or (1, 2, 3) in the images' type. The pixel (x, y) of a result, counted from its centre with y
            downwards, shows the point `map @ (x, y, 1)` of the image.

    Returns:
        (n, C, H, W) images, which PyTorch differentiates once (`FlipOrRotate.apply`).
    """
    num, _, height, width = images.shape
    # Not affine_grid: its matrix product may run in TF32 or, under autocast, in bfloat16, which moves
    # pixels; and its coordinates are relative to the sides, which turns the rotation of a non-square
    # image into a shear.
    x = _centred(width, images)  # (W,)
    y = _centred(height, images)[:, None]  # (H, 1)
    xx, xy, x0, yx, yy, y0 = maps.reshape(-1, 6, 1, 1).unbind(1)  # each (1 or n, 1, 1)
    from_x, from_y = xx * x + xy * y + x0, yx * x + yy * y + y0  # (1 or n, H, W)
    grid = torch.stack((from_x * (2 / width), from_y * (2 / height)), dim=-1)  # the sides are at -1 and 1
    return grid_sample(images, grid.expand(num, -1, -1, -1), align_corners=False)


def _centred(size: int, images: Tensor) -> Tensor:
    """Positions of `size` pixels in a row, relative to its middle, with the images' dtype and device."""
    return torch.arange(size, dtype=images.dtype, device=images.device) - (size - 1) / 2
