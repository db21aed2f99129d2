"""Addressable memories: shared bases, addressing matrices and recall (section 4.1 of the paper)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.budget import StorageBudget

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


class SharedBases(Memory):
    """Bases recombined by learned addressing matrices: equation 2 for queries of any width.

    x'_{n,i} = y_n^T A_i [b_1; ...; b_K]^T for i = 1..r, followed by bilinear upsampling.

    Args:
        image_shape: (C, H, W) of the data set's images.
        query_dim: Width d_y of the queries.
        num_slots: Number r of addressing matrices.
        num_bases: Number K of bases.
        basis_shape: (C, h, w) of a basis.
        init: Initialisation of bases and addressing matrices, see `AddressableMemory`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        query_dim: int,
        num_slots: int,
        num_bases: int,
        basis_shape: tuple[int, int, int],
        init: Initialisation,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.query_dim = query_dim
        self.num_slots = num_slots
        self._bases = nn.Parameter(torch.empty(num_bases, *basis_shape))  # (K, C, h, w)
        self.addressing = nn.Parameter(torch.empty(num_slots, query_dim, num_bases))  # (r, d_y, K)
        # fans as torch.nn.init counts them for the matrices the paper writes: [b_1; ...; b_K] (K, d), A_i (d_y, K)
        initialise(self._bases, fan_in=math.prod(basis_shape), fan_out=num_bases, scheme=init)
        initialise(self.addressing, fan_in=num_bases, fan_out=query_dim, scheme=init)

    @property
    def bases(self) -> Tensor:
        """The bases B, (K, C, h, w)."""
        return self._bases

    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """See `Memory.recall_slots`: for one-hot queries y^T A_i is a gather, (m, K)."""
        return self._combined(self.addressing[slots, labels])

    def recall_queries(self, queries: Tensor) -> Tensor:
        """See `Memory.recall_queries`."""
        self._check_width(queries)
        # n queries, d their width, r slots, k bases
        coefficients = torch.einsum("nd,rdk->nrk", queries, self.addressing)
        return self._combined(coefficients.flatten(0, 1)).unflatten(0, coefficients.shape[:2])

    def coefficients(self) -> Tensor:
        """Coefficients v of every class and slot, (num_classes, r, K)."""
        return self.addressing.transpose(0, 1)

    def _combined(self, coefficients: Tensor) -> Tensor:
        # (m, K) @ (K, C * h * w) -> (m, C, H, W)
        images = (coefficients @ self._bases.flatten(1)).unflatten(1, self._bases.shape[1:])
        return self._upsampled(images)


class AddressableMemory(SharedBases):
    """Bases shared by all classes, recombined by learned addressing matrices (equation 2).

    x'_{n,i} = y_n^T A_i [b_1; ...; b_K]^T for i = 1..r, followed by bilinear upsampling. The number r of
    addressing matrices, which is the number of images a class, is the largest one the budget allows.

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes, the width d_y of the one-hot queries.
        images_per_class: Storage budget, in real images a class (equation 4).
        num_bases: Number of bases K; null takes what suits the budget, see `StorageBudget.balanced_bases`.
        downsampling: Bases are smaller than images by this factor in height and width; the paper uses 2.
        init: Initialisation of bases and addressing matrices; Kaiming uniform is the paper's, Xavier uniform
            the authors' code's.

    Raises:
        UserError: If no addressing matrix fits the budget or `downsampling` does not divide the image.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        images_per_class: float,
        num_bases: int | None = None,
        downsampling: int = 2,
        init: Initialisation = "kaiming_uniform",
    ) -> None:
        budget = StorageBudget(images_per_class, num_classes, image_shape, downsampling)
        num_bases = budget.balanced_bases() if num_bases is None else num_bases
        num_slots = budget.num_matrices(num_bases)
        super().__init__(image_shape, num_classes, num_slots, num_bases, budget.basis_shape, init)


class PixelMemory(Memory):
    """One learned image a slot: the standard parametrisation, as a special case of addressing (section 4.1).

    K = N' bases, and A_i[m, n] = 1 where n = m * (N' / C) + i, 0 elsewhere: fixed, so it costs no storage.
    With downsampling 1 this is the paper's "BPTT", with 2 its "BPTT + ds" (table 2).

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes.
        images_per_class: Storage budget, in real images a class; downsampling buys ds^2 times as many slots.
        downsampling: Stored images are smaller than the data set's by this factor in height and width.
        init: Initialisation of the images, see `AddressableMemory`; standard normal is what DC starts from (Zhao et
            al., ICLR 2021, authors' code).

    Raises:
        UserError: If not one image a class fits or `downsampling` does not divide the image.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        images_per_class: float,
        downsampling: int = 1,
        init: PixelInitialisation = "kaiming_uniform",
    ) -> None:
        super().__init__()
        budget = StorageBudget(images_per_class, num_classes, image_shape, downsampling)
        self.image_shape = image_shape
        self.query_dim = num_classes
        self.num_slots = budget.num_images()
        num_images = num_classes * self.num_slots
        self.images = nn.Parameter(torch.empty(num_images, *budget.basis_shape))  # (N', C, h, w), class by class
        initialise(self.images, fan_in=budget.basis_size, fan_out=num_images, scheme=init)

    @property
    def bases(self) -> Tensor:
        """The stored images, (N', C, h, w), class by class."""
        return self.images

    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """See `Memory.recall_slots`."""
        return self._upsampled(self.images[labels * self.num_slots + slots])

    def recall_queries(self, queries: Tensor) -> Tensor:
        """See `Memory.recall_queries`: y mixes the images of the classes slot by slot."""
        self._check_width(queries)
        by_class = self.images.unflatten(0, (self.query_dim, self.num_slots))
        mixed = torch.einsum("nd,drchw->nrchw", queries, by_class)
        return self._upsampled(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])

    def coefficients(self) -> Tensor:
        """The fixed 0/1 coefficients of every class and slot, (num_classes, num_slots, N')."""
        num_images = len(self.images)
        return torch.eye(num_images, device=self.images.device).unflatten(0, (self.query_dim, self.num_slots))


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
