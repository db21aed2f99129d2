"""The interface of normalisations, and the standardisation of each channel."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Images normalised at once: 512 CIFAR images are 6 MB in float32.
CHUNK = 512


class Normalisation(Protocol):
    """A map of images fitted on training images, and its inverse. Images are floats, (n, C, H, W)."""

    def apply(self, images: Tensor) -> Tensor:
        """Map images with pixels in [0, 1] to what networks are trained on; shape, dtype and device stay."""

    def invert(self, images: Tensor) -> Tensor:
        """Map normalised images back to pixels, which may lie a little outside [0, 1]."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Subtract each channel's mean and divide by its standard deviation.

    Args:
        mean: Mean of each channel over images and pixels, (C,) float64, pixels in [0, 1].
        std: Standard deviation of each channel, (C,) float64, positive.
    """

    mean: Tensor
    std: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Standardise images with pixels in [0, 1], (n, C, H, W); shape, dtype and device stay."""
        return (images - self._like(images, self.mean)) / self._like(images, self.std)

    def invert(self, images: Tensor) -> Tensor:
        """Map standardised images (n, C, H, W) back to pixels, exactly."""
        return images * self._like(images, self.std) + self._like(images, self.mean)

    def _like(self, images: Tensor, statistic: Tensor) -> Tensor:
        return statistic.to(images).view(1, -1, 1, 1)


def normalised(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Normalise images (n, C, H, W), uint8 or floats in [0, 1], in chunks, to float32 on their device."""
    result = torch.empty(images.shape, device=images.device)
    for target, chunk in zip(torch.split(result, CHUNK), torch.split(images, CHUNK), strict=True):
        target.copy_(chunk)
        if chunk.dtype == torch.uint8:
            target.div_(255)
        target.copy_(normalisation.apply(target))
    return result


def fit_standardisation(images: Tensor, subset: Tensor | None = None) -> Standardisation:
    """Compute the mean and population standard deviation of each channel of uint8 images (n, C, H, W).

    A constant channel keeps its scale (std 1). `subset` has the indices of the images to count, by default all.
    """
    # A histogram of the 256 values is exact and needs no float copy of the images.
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for chosen in torch.split(torch.arange(len(images)) if subset is None else subset, CHUNK):
        chunk = images.index_select(0, chosen.to(images.device))
        counts += torch.stack([torch.bincount(c.flatten(), minlength=256) for c in chunk.unbind(1)]).cpu()
    values = torch.arange(256, dtype=torch.float64) / 255
    weights = counts / counts.sum(1, keepdim=True)  # (C, 256)
    mean = weights @ values
    std = (weights * (values - mean[:, None]).square()).sum(1).sqrt()
    return Standardisation(mean, torch.where(std > 0, std, 1.0))
