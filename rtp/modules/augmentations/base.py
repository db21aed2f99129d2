"""Differentiable augmentation: random transforms whose parameters are drawn separately."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Augmentation(ABC):
    """A random transform of images: a draw of parameters, and a pure function of images and parameters.

    In an outer step it is siamese (section 5.1): one `sample(1)` is applied to recalled and real images (Zhao and
    Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021). When a network is retrained,
    `sample(n)` is applied image by image.
    """

    @abstractmethod
    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        """Draw parameters (num, ...), independently, from a generator on `device`, by default its global one."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Transform floating-point images (n, C, H, W), differentiably; the dtype stays.

        The parameters come from `sample`: (n, ...), a draw for each image, or (1, ...), one for all.
        """
