"""Addressable memories: bases shared by all classes, recombined by addressing matrices (section 4.1)."""

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from rtp.modules.memories.base import Initialisation, Memory, StoredSizes, initial
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.memories.data_start import (
    ImagesOfClass,
    extended_bases,
    filled_slots,
    projection,
    sample_size,
    shrunk,
    shrunk_classes,
    starting_bases,
)
from rtp.modules.memories.number_formats import StoredType


class SharedBases(Memory):
    """Bases recombined by learned addressing matrices: equation 2 for queries of any width.

    x'_{n,i} = y_n^T A_i [b_1; ...; b_K]^T for i = 1..r, followed by bilinear upsampling.

    Args:
        image_shape: (C, H, W) of the data set's images.
        bases: (K, C, h, w).
        addressing: The matrices A_i, (r, d_y, K).
    """

    def __init__(self, image_shape: tuple[int, int, int], bases: Tensor, addressing: Tensor) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_slots, self.query_dim, _ = addressing.shape
        self._bases = nn.Parameter(bases)
        self.addressing = nn.Parameter(addressing)

    @torch.no_grad()
    def start_from(self, images_of: ImagesOfClass) -> None:
        """See `Memory.start_from`: bases reproduce a sample best, and each slot is one image of its class."""
        count = sample_size(self.query_dim, self.num_slots)
        images = shrunk_classes(images_of, self.query_dim, count, self._bases.shape[1:])
        bases = starting_bases(images.flatten(0, 1), len(self._bases))
        self._bases.copy_(bases)
        of_slots = images[:, : self.num_slots].flatten(2) @ projection(bases)  # (num_classes, r, K)
        self.addressing.copy_(of_slots.transpose(0, 1))

    @torch.no_grad()
    def add_to_start(self, images: Tensor, labels: Tensor, held: Tensor) -> Tensor:
        """See `Memory.add_to_start`: bases as in `extended_bases`, and each slot reproduces one image of its class."""
        kept = torch.arange(self.num_slots, device=held.device) < held[:, None]  # (d_y, r)
        old, small = self.addressing.transpose(0, 1)[kept].double().cpu(), shrunk(images, self._bases.shape[2:])
        bases = extended_bases(self._bases.double().cpu(), old, small)
        known = old @ self._bases.double().cpu().flatten(1)
        coefficients = torch.cat([known, small.flatten(1)]) @ projection(bases)
        classes = torch.arange(self.query_dim, device=held.device)[:, None].expand_as(kept)[kept]
        slots, now_held = filled_slots(torch.cat([classes, labels]), self.query_dim, self.num_slots)
        self._bases.copy_(bases)
        self.addressing.copy_(coefficients[slots.cpu()].transpose(0, 1))
        return now_held

    @property
    def bases(self) -> Tensor:
        """The bases B as they are stored, (K, C, h, w)."""
        return self._as_stored(self._bases)

    @property
    def stored_addressing(self) -> Tensor:
        """The matrices A_i as they are stored, (r, d_y, K)."""
        return self._as_stored(self.addressing)

    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """See `Memory.recall_slots`: for one-hot queries y^T A_i is a gather, (m, K)."""
        return self._combined(self.stored_addressing[slots, labels])

    def recall_queries(self, queries: Tensor) -> Tensor:
        """See `Memory.recall_queries`."""
        self._check_width(queries)
        # n queries, d their width, r slots, k bases
        coefficients = torch.einsum("nd,rdk->nrk", queries, self.stored_addressing)
        return self._combined(coefficients.flatten(0, 1)).unflatten(0, coefficients.shape[:2])

    def coefficients(self) -> Tensor:
        """Coefficients v of every class and slot, (num_classes, r, K)."""
        return self.stored_addressing.transpose(0, 1)

    def combinations(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Memory.combinations`; upsampling is linear, so that of the bases is that of the images."""
        return self.coefficients()[labels].flatten(0, 1), self._upsampled(self.bases).flatten(1)

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`."""
        if set(state) != {"_bases", "addressing"}:
            return None
        return {"bases": state["_bases"], "addressing": state["addressing"]}

    @classmethod
    def tensor_shapes(cls, sizes: StoredSizes, num_bases: int) -> dict[str, tuple[int, ...]]:
        """See `Memory.tensor_shapes`."""
        return {"bases": (num_bases, *sizes.basis_shape), "addressing": (sizes.num_slots, sizes.num_classes, num_bases)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """See `Memory.from_tensors`; a subclass's budget is not checked."""
        memory = cls.__new__(cls)
        SharedBases.__init__(memory, sizes.image_shape, tensors["bases"], tensors["addressing"])
        return memory

    def _combined(self, coefficients: Tensor) -> Tensor:
        # (m, K) @ (K, C * h * w) -> (m, C, H, W)
        images = (coefficients @ self.bases.flatten(1)).unflatten(1, self._bases.shape[1:])
        return self._upsampled(images)


def random_bases(
    query_dim: int, num_slots: int, num_bases: int, basis_shape: tuple[int, int, int], init: Initialisation
) -> tuple[Tensor, Tensor]:
    """Initial bases (K, C, h, w) and addressing matrices (r, d_y, K), see `AddressableMemory`."""
    # fans as torch.nn.init counts them for the matrices the paper writes: [b_1; ...; b_K] (K, d), A_i (d_y, K)
    bases = initial((num_bases, *basis_shape), math.prod(basis_shape), num_bases, init)
    return bases, initial((num_slots, query_dim, num_bases), num_bases, query_dim, init)


LOG_RATE = "log_rate"
"""Name of the learned rate's logarithm in the state of an `AddressableMemory`."""


class AddressableMemory(SharedBases):
    """Bases shared by all classes, recombined by learned addressing matrices (equation 2, see `SharedBases`).

    The number r of addressing matrices, and so of images per class, is the largest that fits the budget.

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes, the width d_y of the one-hot queries.
        images_per_class: Storage budget, in real images of 32-bit floats a class (equation 4), as in the paper; or
            give `total_bytes` or `bits_per_class`.
        num_bases: Number of bases K; null takes what suits the budget, see `StorageBudget.balanced_bases`.
        downsampling: Bases are smaller than images by this factor in height and width; the paper uses 2.
        init: Of bases and addressing matrices: Kaiming uniform is the paper's, Xavier uniform the authors' code's;
            "data" starts from training images, see `start_from`.
        learned_rate: Whether to learn a factor of the inner loop's learning rate, its logarithm a number of the budget;
            networks are retrained at the rate times the factor. A deviation from the paper.
        stored_as: Format of the numbers; the loss is that of the rounded ones, its gradient goes straight through the
            rounding. At equal storage int8 holds four times the numbers of float32. A deviation from the paper.
        float_steps: Outer steps that learn unrounded numbers before, at least 0.
        total_bytes: Storage budget in bytes.
        bits_per_class: Storage budget in bits a class.

    Raises:
        UserError: If not one budget is given, no addressing matrix fits it, `downsampling` does not divide the image,
            or `float_steps` is set for float32.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        images_per_class: float | None = None,
        num_bases: int | None = None,
        downsampling: int = 2,
        init: Initialisation = "kaiming_uniform",
        learned_rate: bool = False,
        stored_as: StoredType = "float32",
        float_steps: int = 0,
        total_bytes: float | None = None,
        bits_per_class: float | None = None,
    ) -> None:
        budget = StorageBudget(
            images_per_class,
            num_classes,
            image_shape,
            downsampling,
            int(learned_rate),
            total_bytes,
            bits_per_class,
            stored_as,
        )
        num_bases = budget.balanced_bases() if num_bases is None else num_bases
        num_slots = budget.num_matrices(num_bases)
        super().__init__(image_shape, *random_bases(num_classes, num_slots, num_bases, budget.basis_shape, init))
        self.starts_from_data = init == "data"
        self._store_as(stored_as, float_steps)
        self.log_rate = nn.Parameter(torch.zeros(())) if learned_rate else None

    @property
    def rate_factor(self) -> Tensor | None:
        """See `Memory.rate_factor`; 1 at the start."""
        return None if self.log_rate is None else self.log_rate.exp()

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`; a file states the learned rate in its protocol."""
        return super().named_tensors({name: tensor for name, tensor in state.items() if name != LOG_RATE})

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """See `Memory.from_tensors`; its rate is the protocol's."""
        memory = super().from_tensors(tensors, sizes)
        memory.log_rate = None
        return memory
