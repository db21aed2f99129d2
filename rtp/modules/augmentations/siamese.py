"""DSA's family of augmentations: one of a few differentiable transforms; and its preset for CIFAR."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.augmentations.resampling import resampled
from rtp.utils.checks import check_in

Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


@dataclass(frozen=True)
class SiameseAugmentation(Augmentation):
    """One of some transforms, chosen with equal probability: the family of DSA, which DM uses as well.

    - color: brightness, saturation and contrast, one after the other: x + b; c (x - grey(x)) + grey(x), with grey(x)
      the mean over channels; c (x - mean(x)) + mean(x)
    - crop: a shift by whole pixels, filled with 0
    - cutout: a rectangle is set to 0; it may extend beyond the image
    - flip: mirrors left and right with probability 1/2
    - scale: stretches or shrinks height and width independently around the centre, interpolated bilinearly
    - rotate: around the centre, counter-clockwise for positive angles, interpolated bilinearly

    The ranges are those of the authors' code, which starts from "data-efficient GANs" (Zhao et al., NeurIPS 2020). It
    chooses one transform for a minibatch when a network is trained; here each draw chooses its own.

    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.

    The parameters of a draw are four numbers: the index of the operation in `operations`, and three in [0, 1).

    Args:
        operations: Names of those to choose from; the authors leave flip out for digits (MNIST, SVHN).
        brightness: b is uniform in +-brightness, in units of the preprocessed images. Authors: 0.5.
        saturation: c is uniform in 1 +- saturation, at most 1. Authors: 1.
        contrast: c is uniform in 1 +- contrast, at most 1. Authors: 0.5.
        crop: Shifts are uniform in +-crop, in sides of the image, rounded to pixels. Authors: 0.125.
        cutout: Sides of the rectangle, in sides of the image, rounded to pixels; at most 1. Authors: 0.5.
        scale: The factor between image and result is uniform in 1 / scale to scale, at least 1. Authors: 1.2.
        degrees: Angles are uniform in +-degrees, at most 180. Authors: 15.

    Raises:
        UserError: If there is no operation, one is unknown or named twice, or a value is out of its range.
    """

    operations: tuple[Operation, ...] = get_args(Operation)
    brightness: float = 0.5
    saturation: float = 1.0
    contrast: float = 0.5
    crop: float = 0.125
    cutout: float = 0.5
    scale: float = 1.2
    degrees: float = 15.0

    def __post_init__(self) -> None:
        known = get_args(Operation)
        if not self.operations or len(set(self.operations)) < len(self.operations) or set(self.operations) - set(known):
            raise UserError(f"operations must be some of {', '.join(known)}, each once, got {list(self.operations)}")
        check_in("brightness", self.brightness, "[0, inf]")
        for name in ("saturation", "contrast", "crop", "cutout"):
            check_in(name, getattr(self, name), "[0, 1]")
        check_in("scale", self.scale, "[1, inf]")
        check_in("degrees", self.degrees, "[0, 180]")

    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        """Draw operations and their numbers, (num, 4); see `Augmentation.sample`."""
        drawn = torch.rand(num, 4, device=device, generator=generator)
        return torch.cat((_whole(drawn[:, :1], len(self.operations)), drawn[:, 1:]), dim=1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Apply draws, (n, 4) or (1, 4); see `Augmentation.apply`.

        PyTorch differentiates grid_sample once, not twice (2.11) or not in forward mode (2.15): augment before the
        inner loop, which is differentiated twice.
        """
        chosen, *numbers = parameters.to(images.dtype).T
        if "color" in self.operations:
            images = self._coloured(images, self._is(chosen, "color"), *numbers)
        if {"crop", "flip", "scale", "rotate"} & set(self.operations):
            images = resampled(images, self._maps(images, chosen, *numbers))
        if "cutout" in self.operations:
            images = images * self._kept(images, self._is(chosen, "cutout"), *numbers[:2])
        return images

    def _is(self, chosen: Tensor, operation: Operation) -> Tensor:
        if operation not in self.operations:
            return torch.zeros_like(chosen, dtype=torch.bool)
        return chosen == self.operations.index(operation)

    def _coloured(self, images: Tensor, on: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        # 0 for draws of another operation, each (1 or n, 1, 1, 1)
        brightness, saturation, contrast = (
            torch.where(on, strength * (2 * number - 1), 0).view(-1, 1, 1, 1)
            for strength, number in ((self.brightness, first), (self.saturation, second), (self.contrast, third))
        )
        images = images + brightness
        images = images + saturation * (images - images.mean(1, keepdim=True))
        return images + contrast * (images - images.mean((1, 2, 3), keepdim=True))

    def _angle(self, number: Tensor) -> Tensor:
        """Radians, for numbers in [0, 1)."""
        return (self.degrees * (2 * number - 1)).deg2rad()

    def _maps(self, images: Tensor, chosen: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """(1 or n, 2, 3), the identity for draws of another operation; see `resampled`."""
        height, width = images.shape[-2:]
        flipped = self._is(chosen, "flip") & (first < 0.5)
        angle = torch.where(self._is(chosen, "rotate"), self._angle(first), 0)
        range_of_scales = self.scale - 1 / self.scale
        x_scale, y_scale = (
            torch.where(self._is(chosen, "scale"), 1 / self.scale + range_of_scales * number, 1)
            for number in (first, second)
        )
        x_shift, y_shift = (
            torch.where(self._is(chosen, "crop"), _whole(number, 2 * most + 1) - most, 0)
            for number, most in ((first, _pixels(self.crop, width)), (second, _pixels(self.crop, height)))
        )
        cos, sin = angle.cos(), angle.sin()
        mirror = torch.where(flipped, -1, 1).to(images.dtype)
        rows = (mirror * x_scale * cos, -sin, x_shift, sin, y_scale * cos, y_shift)
        return torch.stack(rows, dim=-1).view(-1, 2, 3)

    def _kept(self, images: Tensor, on: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """1 for pixels that stay, 0 for those of the rectangle, (1 or n, 1, H, W)."""
        inside = on.view(-1, 1, 1)
        for axis, number in ((-2, first), (-1, second)):
            length = images.shape[axis]
            side = _pixels(self.cutout, length)
            # its middle is a pixel of the image, or for an even side a line between two or at an end
            begin = (_whole(number, length + 1 - side % 2) - side // 2).view(-1, 1)
            pixel = torch.arange(length, device=images.device)
            along = (begin <= pixel) & (pixel < begin + side)  # (1 or n, length)
            inside = inside & along.unsqueeze(2 if axis == -2 else 1)
        return (~inside).to(images.dtype)[:, None]


class FlipOrRotate(SiameseAugmentation):
    """Flip or rotation, with equal probability; a flip mirrors left and right with probability 1/2 (section A.1).

    This is the authors' strategy "flip_rotate" for CIFAR10 and CIFAR100. Their code draws the choice and the angle from
    one seed, so that they depend on each other, and chooses once for a minibatch when a network is retrained; here all
    draws are independent.

    Args:
        max_degrees: Angles are uniform in +-max_degrees, within [0, 180]; the authors' code has 15.

    Raises:
        UserError: If `max_degrees` is out of its range.
    """

    def __init__(self, max_degrees: float = 15.0) -> None:
        check_in("max_degrees", max_degrees, "[0, 180]")
        super().__init__(("rotate", "flip"), degrees=max_degrees)

    @property
    def max_degrees(self) -> float:
        """The largest angle."""
        return self.degrees

    def __repr__(self) -> str:
        return f"FlipOrRotate(max_degrees={self.max_degrees})"

    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        """See `SiameseAugmentation.sample`; the flip and the angle have a random number each."""
        branch, flip, turn = torch.rand(3, num, device=device, generator=generator)  # each (num,), in [0, 1)
        chosen = _whole(branch, 2)
        unused = torch.zeros_like(chosen)
        return torch.stack((chosen, torch.where(chosen == 0, turn, flip), unused, unused), dim=1)

    def _angle(self, number: Tensor) -> Tensor:
        return math.radians(self.degrees) * (2 * number - 1)


def _whole(number: Tensor, count: int) -> Tensor:
    """One of 0, ..., count - 1 for a number in [0, 1); the product may be rounded up to count."""
    return (number * count).floor().clamp(max=count - 1)


def _pixels(part: float, length: int) -> int:
    return int(part * length + 0.5)
