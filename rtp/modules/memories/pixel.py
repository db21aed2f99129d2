"""One learned image per slot: the standard parametrisation of dataset distillation."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from rtp.modules.memories.base import Memory, PixelInitialisation, StoredSizes, initial
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.memories.data_start import ImagesOfClass, filled_slots, shrunk
from rtp.modules.memories.number_formats import StoredType


class PixelMemory(Memory):
    """One learned image per slot: the standard parametrisation, as a special case of addressing (section 4.1).

    K = N' bases; A_i[m, n] = 1 where n = m * (N' / C) + i and 0 elsewhere is fixed, so it costs no storage.
    With downsampling 1 this is the paper's "BPTT", with 2 its "BPTT + ds" (table 2).

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes.
        images_per_class: Storage budget, in real images of 32-bit floats per class, or `total_bytes` or
            `bits_per_class`; downsampling by ds allows ds^2 times as many slots.
        downsampling: Stored images are smaller than the data set's by this factor in height and width.
        init: See `AddressableMemory`; standard normal is that of DC (Zhao et al., ICLR 2021, code).
        stored_as: See `AddressableMemory`.
        float_steps: See `AddressableMemory`.
        total_bytes: Storage budget in bytes.
        bits_per_class: Storage budget in bits a class.

    Raises:
        UserError: If not one budget is given, no image per class fits it, `downsampling` does not divide the image, or
            `float_steps` is set for float32.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        images_per_class: float | None = None,
        downsampling: int = 1,
        init: PixelInitialisation = "kaiming_uniform",
        stored_as: StoredType = "float32",
        float_steps: int = 0,
        total_bytes: float | None = None,
        bits_per_class: float | None = None,
    ) -> None:
        super().__init__()
        budget = StorageBudget(
            images_per_class, num_classes, image_shape, downsampling, 0, total_bytes, bits_per_class, stored_as
        )
        self.image_shape = image_shape
        self.query_dim = num_classes
        self.num_slots = budget.num_images()
        num_images = num_classes * self.num_slots
        self.images = nn.Parameter(initial((num_images, *budget.basis_shape), budget.basis_size, num_images, init))
        self.starts_from_data = init == "data"
        self._store_as(stored_as, float_steps)

    @torch.no_grad()
    def start_from(self, images_of: ImagesOfClass) -> None:
        """See `Memory.start_from`: each stored image is a training image of its class."""
        size = self.images.shape[2:]
        images = [shrunk(images_of(label, self.num_slots), size) for label in range(self.query_dim)]
        self.images.copy_(torch.cat(images))

    @torch.no_grad()
    def add_to_start(self, images: Tensor, labels: Tensor, held: Tensor) -> Tensor:
        """See `Memory.add_to_start`: each stored image is an image of its class."""
        kept = torch.arange(self.num_slots, device=held.device) < held[:, None]  # (classes, r)
        known = self.images.unflatten(0, kept.shape)[kept].double().cpu()
        together = torch.cat([known, shrunk(images, self.images.shape[2:])])
        classes = torch.arange(self.query_dim, device=held.device)[:, None].expand_as(kept)[kept]
        slots, now_held = filled_slots(torch.cat([classes, labels]), self.query_dim, self.num_slots)
        self.images.copy_(together[slots.flatten().cpu()])
        return now_held

    @property
    def bases(self) -> Tensor:
        """The images as they are stored, (N', C, h, w), class by class."""
        return self._as_stored(self.images)

    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """See `Memory.recall_slots`."""
        return self._upsampled(self.bases[labels * self.num_slots + slots])

    def recall_queries(self, queries: Tensor) -> Tensor:
        """See `Memory.recall_queries`: y mixes the classes' images slot by slot."""
        self._check_width(queries)
        by_class = self.bases.unflatten(0, (self.query_dim, self.num_slots))
        mixed = torch.einsum("nd,drchw->nrchw", queries, by_class)
        return self._upsampled(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])

    def coefficients(self) -> Tensor:
        """The fixed 0/1 coefficients of every class and slot, (num_classes, num_slots, N')."""
        identity = torch.eye(len(self.images), device=self.images.device)
        return identity.unflatten(0, (self.query_dim, self.num_slots))

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`."""
        return dict(state) if set(state) == {"images"} else None

    @classmethod
    def tensor_shapes(cls, sizes: StoredSizes, num_bases: int) -> dict[str, tuple[int, ...]]:
        """See `Memory.tensor_shapes`."""
        return {"images": (sizes.num_classes * sizes.num_slots, *sizes.basis_shape)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """See `Memory.from_tensors`; the budget is not checked."""
        memory = cls.__new__(cls)
        Memory.__init__(memory)
        memory.image_shape, memory.query_dim, memory.num_slots = sizes.image_shape, sizes.num_classes, sizes.num_slots
        memory.images = nn.Parameter(tensors["images"])
        return memory
