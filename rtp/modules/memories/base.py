"""Interface of the memories: recall by label or by query vector, and storage (section 4.1)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.datamodules.class_sets import ClassSets
from rtp.errors import UserError
from rtp.modules.memories.data_start import ImagesOfClass
from rtp.modules.memories.number_formats import StoredType, rounded, stored_bits
from rtp.utils.checks import check_at_least

QueriedBy = Literal["labels", "images"]
Initialisation = Literal["kaiming_uniform", "xavier_uniform", "data"]
PixelInitialisation = Literal["kaiming_uniform", "xavier_uniform", "standard_normal", "data"]


class StoredQuery(Protocol):
    """A file's description of the feature network of an image-addressed memory."""

    @property
    def query_dim(self) -> int:
        """Width d_y of a query."""

    def build(self, image_shape: tuple[int, int, int], query_dim: int) -> nn.Module:
        """Build the network."""

    def shapes(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of its weights by name."""


class StoredSizes(Protocol):
    """A file's description of a memory."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a recalled image."""

    @property
    def basis_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a stored image."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    def num_slots(self) -> int:
        """Images r that one query recalls."""

    @property
    def query(self) -> StoredQuery | None:
        """The feature network, if the memory is addressed by images."""

    @property
    def tasks(self) -> ClassSets | None:
        """The classes of each task, if each task has its own memory."""


class Memory(nn.Module, ABC):
    """Learned images or bases; a subclass's first two arguments are the data set's `image_shape` and `num_classes`.

    Attributes:
        image_shape: (C, H, W) of a recalled image.
        query_dim: Width d_y of a query vector; the number of classes for one-hot labels.
        num_slots: Images r that one query recalls.
        queried_by: What queries are made of.
        starts_from_data: Whether `start_from` is called before the first outer step.
        stored_as: Format that the numbers are stored in; what is recalled is recalled from the rounded numbers.
        float_steps: Outer steps that learn unrounded numbers first.
        rounds_in_training: Whether these steps are over. Outside of training mode numbers are always rounded.
    """

    queried_by: QueriedBy = "labels"
    starts_from_data: bool = False
    stored_as: StoredType = "float32"
    float_steps: int = 0
    rounds_in_training: bool = True
    image_shape: tuple[int, int, int]
    query_dim: int
    num_slots: int

    @property
    @abstractmethod
    def bases(self) -> Tensor:
        """The stored images B, (K, C, h, w)."""

    @abstractmethod
    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """Recall images (m, C, H, W), one for each label and slot: y^T A_slot B of equation 2 for one-hot y.

        Labels (m,) are integers in [0, query_dim), slots (m,) in [0, num_slots). Differentiable in the parameters.
        """

    @abstractmethod
    def recall_queries(self, queries: Tensor) -> Tensor:
        """Recall images (n, num_slots, C, H, W) by query vectors y (n, query_dim), equation 2.

        Raises:
            UserError: If the queries are not of width d_y.
        """

    @abstractmethod
    def coefficients(self) -> Tensor:
        """Coefficients v = y^T A_i of every class and slot, (num_classes, num_slots, K)."""

    @property
    def rate_factor(self) -> Tensor | None:
        """Factor of the inner loop's learning rate, a positive scalar learned with the memory; None for 1."""
        return None

    def start_from(self, images_of: ImagesOfClass) -> None:
        """Replace the random start by one from training images; called where `starts_from_data` is true.

        Raises:
            UserError: If the memory has no such start.
        """
        raise UserError(f"{type(self).__name__} has no start from data: define its start_from, or choose another init")

    def add_to_start(self, images: Tensor, labels: Tensor, held: Tensor) -> Tensor:
        """Add images of a stream to a start from data, which the memory itself holds: nothing else is stored.

        Args:
            images: Normalised images (n, C, H, W).
            labels: (n,) in [0, query_dim).
            held: (query_dim,) int64, slots of each class that hold an image of it; zeros for a memory without any.

        Returns:
            `held` after that, at most `num_slots`. The first images of a class take its slots; the other slots repeat
            them, and those of a class without images repeat images of all classes.

        Raises:
            UserError: If the memory has no such start.
        """
        raise UserError(
            f"{type(self).__name__} has no start from a stream: define its add_to_start, or choose another init"
        )

    def recall(self, labels: Tensor) -> Tensor:
        """Recall all images (n, num_slots, C, H, W) of labels (n,), integers in [0, query_dim)."""
        slots = torch.arange(self.num_slots, device=labels.device)
        images = self.recall_slots(labels.repeat_interleave(self.num_slots), slots.repeat(len(labels)))
        return images.unflatten(0, (len(labels), self.num_slots))

    def combinations(self, labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """The flat images that `recall` returns for labels (n,), as a product of two matrices.

        Returns:
            Coefficients V (n * num_slots, K) and bases B (K, C * H * W) of images V B; None for a memory whose images
            are no combinations of fewer bases.
        """
        return None

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Tensors of a `state_dict` by their names in a file; None for another module's or if no file can hold them."""
        return None

    def to_tensors(self) -> dict[str, Tensor]:
        """The memory's tensors by their names in a file; UserError if no file can hold such a memory."""
        tensors = self.named_tensors(self.state_dict())
        if tensors is None:
            raise UserError(f"a file cannot hold a {type(self).__name__}: define its named_tensors and from_tensors")
        return tensors

    @classmethod
    def tensor_shapes(cls, sizes: StoredSizes, num_bases: int) -> dict[str, tuple[int, ...]]:
        """Shapes of a file's tensors with `num_bases` bases over all tasks; pixel memories ignore `num_bases`."""
        raise NotImplementedError

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """Build a memory from a file's float32 tensors with the names and shapes of `tensor_shapes`."""
        raise NotImplementedError

    @property
    def storage_floats(self) -> int:
        """Numbers in the state, the left-hand side of equation 4: bases, addressing and extras (learned labels)."""
        return sum(tensor.numel() for tensor in self.state_dict().values())

    @property
    def storage_bits(self) -> int:
        """Bits of these numbers as they are stored, with the scales of integers."""
        return sum(stored_bits(tensor.shape, self.stored_as) for tensor in self.state_dict().values())

    @property
    def storage_bytes(self) -> int:
        """`storage_bits` in bytes, rounded up."""
        return -(-self.storage_bits // 8)

    def _store_as(self, stored_as: StoredType, float_steps: int) -> None:
        check_at_least("float_steps", float_steps, 0)
        if float_steps and stored_as == "float32":
            raise UserError(f"float_steps={float_steps} come before rounding: set stored_as, or leave float_steps out")
        self.stored_as, self.float_steps = stored_as, float_steps

    def _as_stored(self, tensor: Tensor) -> Tensor:
        # the straight-through gradient reaches the unrounded numbers, which the outer optimizer moves
        return tensor if self.training and not self.rounds_in_training else rounded(tensor, self.stored_as)

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


def initial(shape: tuple[int, ...], fan_in: int, fan_out: int, scheme: PixelInitialisation) -> Tensor:
    """Draw a tensor of standard normal numbers, or of uniform ones within the scheme's bound.

    Kaiming: sqrt(6 / fan_in); Xavier: sqrt(6 / (fan_in + fan_out)). Fans are columns and rows of one of its matrices.
    "data" takes Kaiming's, until `Memory.start_from` is called.
    """
    tensor = torch.empty(shape)
    if scheme == "standard_normal":
        return tensor.normal_()
    bound = math.sqrt(6 / (fan_in if scheme != "xavier_uniform" else fan_in + fan_out))
    return tensor.uniform_(-bound, bound)
