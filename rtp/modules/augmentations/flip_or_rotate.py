"""Flip or rotation: the augmentation of CIFAR10 and CIFAR100 (section A.1)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.augmentations.resampling import resampled


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
