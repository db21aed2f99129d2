"""What every memory offers: recall by label or by query vector, and its price (section 4.1 of the paper)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError

QueriedBy = Literal["labels", "images"]


Initialisation = Literal["kaiming_uniform", "xavier_uniform"]


PixelInitialisation = Literal["kaiming_uniform", "xavier_uniform", "standard_normal"]


class Memory(nn.Module, ABC):
    """What every memory offers: recall by label or by query vector, and its price.

    A subclass's first two arguments are `image_shape` and `num_classes`, which the data set provides.

    Attributes:
        image_shape: (C, H, W) of a recalled image.
        query_dim: Width d_y of a query vector; the number of classes for one-hot labels.
        num_slots: Images r that one query recalls.
        queried_by: What queries are made of.
    """

    queried_by: QueriedBy = "labels"
    image_shape: tuple[int, int, int]
    query_dim: int
    num_slots: int

    @property
    @abstractmethod
    def bases(self) -> Tensor:
        """The stored images B, (K, C, h, w)."""

    @abstractmethod
    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """Recall single images, each by its label and its slot: y^T A_slot B of equation 2 for one-hot y.

        Args:
            labels: (m,) integers in [0, query_dim).
            slots: (m,) integers in [0, num_slots).

        Returns:
            (m, C, H, W) images, differentiable with respect to the parameters.
        """

    @abstractmethod
    def recall_queries(self, queries: Tensor) -> Tensor:
        """Recall by arbitrary query vectors y, equation 2.

        Args:
            queries: (n, query_dim) real vectors.

        Returns:
            (n, num_slots, C, H, W) images.

        Raises:
            UserError: If the queries are not of width d_y.
        """

    @abstractmethod
    def coefficients(self) -> Tensor:
        """Coefficients v = y^T A_i of every class and slot, (num_classes, num_slots, K)."""

    def recall(self, labels: Tensor) -> Tensor:
        """Recall all images of some labels.

        Args:
            labels: (n,) integers in [0, query_dim).

        Returns:
            (n, num_slots, C, H, W) images.
        """
        slots = torch.arange(self.num_slots, device=labels.device)
        images = self.recall_slots(labels.repeat_interleave(self.num_slots), slots.repeat(len(labels)))
        return images.unflatten(0, (len(labels), self.num_slots))

    @property
    def storage_floats(self) -> int:
        """Numbers that have to be stored, all that the state holds (left-hand side of equation 4).

        These are bases, addressing and, where a memory has more, such as learned labels, that as well.
        """
        return sum(tensor.numel() for tensor in self.state_dict().values())

    @property
    def storage_bytes(self) -> int:
        """Bytes of these numbers, each in the precision that it has now."""
        return sum(tensor.nbytes for tensor in self.state_dict().values())

    def _check_width(self, queries: Tensor) -> None:
        if queries.dim() != 2 or queries.shape[1] != self.query_dim:
            raise UserError(f"queries are {tuple(queries.shape)}, but the memory takes (n, {self.query_dim})")

    def _upsampled(self, images: Tensor) -> Tensor:
        # "Bilinear interpolation" (section 4.1); (n, C, h, w) -> (n, C, H, W)
        if images.shape[-2:] == self.image_shape[-2:]:
            return images
        return F.interpolate(images, size=self.image_shape[-2:], mode="bilinear", align_corners=False)


MemoryFactory = Callable[[tuple[int, int, int], int], Memory]
"""Builds a memory from (image_shape, num_classes); in YAML, a class path with the other arguments."""


def initialise(tensor: Tensor, fan_in: int, fan_out: int, scheme: PixelInitialisation) -> None:
    """Fill a tensor in place with standard normal numbers, or with uniform ones of the scheme's bound.

    Args:
        tensor: Any shape.
        fan_in: Columns of one matrix of the tensor.
        fan_out: Its rows.
        scheme: Kaiming: bound sqrt(6 / fan_in); Xavier: sqrt(6 / (fan_in + fan_out)).
    """
    if scheme == "standard_normal":
        nn.init.normal_(tensor)
        return
    fan = fan_in if scheme == "kaiming_uniform" else fan_in + fan_out
    nn.init.uniform_(tensor, -math.sqrt(6 / fan), math.sqrt(6 / fan))
