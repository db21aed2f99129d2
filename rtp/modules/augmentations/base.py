"""Differentiable augmentation: random transforms whose parameters are drawn apart from their application."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Augmentation(ABC):
    """A random transform of images: a draw of parameters, and a pure function of images and parameters.

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
