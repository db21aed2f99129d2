"""One learned image a slot: the standard parametrisation of dataset distillation."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from rtp.modules.memories.base import Memory, PixelInitialisation, StoredSizes, initialise
from rtp.modules.memories.budget import StorageBudget


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
        """See `Memory.from_tensors`; the sizes are the tensors' own, so no budget is asked."""
        memory = cls.__new__(cls)
        Memory.__init__(memory)
        memory.image_shape, memory.query_dim, memory.num_slots = sizes.image_shape, sizes.num_classes, sizes.num_slots
        memory.images = nn.Parameter(tensors["images"])
        return memory
