"""A memory that is addressed by images, not labels (sections 5.3.2 and B.3)."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from rtp.errors import UserError
from rtp.modules.memories.addressable import SharedBases
from rtp.modules.memories.base import Initialisation, StoredSizes
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.networks import NetworkFactory
from rtp.utils.checks import check_at_least

NETWORK, FEATURES = "feature_network.", "features."
"""Prefix of the feature network's weights in a `state_dict` and in a file."""


class ImageAddressedMemory(SharedBases):
    """Bases and addressing matrices with a feature network h that makes the query, y = h(image).

    The paper gives the numbers of bases and matrices and says that "an extra ConvNet" outputs the query (A.3, B.3), not
    how wide the query is or how that width is reached. Here h is a network of the usual kind with `query_dim` outputs:
    its linear layer brings the features to the width of the query, and nothing bounds or normalises the query.

    Bases, addressing matrices and h are parameters of one module: they are learned, stored and charged together.

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes in the data set, which has no influence: a query is an image.
        feature_network: Makes h, called with the image's shape and `query_dim` in place of the number of classes.
        query_dim: Width d_y of the query; not published.
        num_bases: Number K of bases; the paper uses 64 (A.3).
        num_slots: Addressing matrices r, which is the number of images that a query recalls; the paper uses 16 (A.3).
        downsampling: Bases are smaller than images by this factor in height and width; the paper uses 2 (5.1).
        init: Initialisation of bases and addressing matrices, see `AddressableMemory`.

    Raises:
        UserError: If a size is below 1, `downsampling` does not divide the image, or h has outputs of another width.
    """

    queried_by = "images"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        feature_network: NetworkFactory,
        query_dim: int = 64,
        num_bases: int = 64,
        num_slots: int = 16,
        downsampling: int = 2,
        init: Initialisation = "kaiming_uniform",
    ) -> None:
        for name, value in (("query_dim", query_dim), ("num_bases", num_bases), ("num_slots", num_slots)):
            check_at_least(name, value, 1)
        basis_shape = StorageBudget(1, num_classes, image_shape, downsampling).basis_shape
        super().__init__(image_shape, query_dim, num_slots, num_bases, basis_shape, init)
        self.feature_network: nn.Module = feature_network(image_shape, query_dim)
        with torch.no_grad():
            width = tuple(self.feature_network(torch.zeros(1, *image_shape)).shape[1:])
        if width != (query_dim,):
            raise UserError(
                f"{type(self.feature_network).__name__} makes queries of the shape {width}, not of {query_dim} "
                "numbers: let it have as many outputs as its second argument says"
            )

    def query(self, images: Tensor) -> Tensor:
        """Queries y = h(image), (n, query_dim), of preprocessed images (n, C, H, W)."""
        return self.feature_network(images)

    def recall_images(self, images: Tensor) -> Tensor:
        """Recall (n, num_slots, C, H, W) by preprocessed images (n, C, H, W), equation 2 with y = h(image).

        Differentiable with respect to bases, addressing and h.
        """
        return self.recall_queries(self.query(images))

    @torch.no_grad()
    def addressed_by(self, images: Tensor) -> SharedBases:
        """A memory whose labels stand for preprocessed images (c, C, H, W): A'_i = Y A_i maps label c to query Y_c.

        It has the same bases, on the same device, without gradients.
        """
        queries = self.query(images)
        shape = self.bases.shape[1], self.bases.shape[2], self.bases.shape[3]
        with self.bases.device:
            labelled = SharedBases(
                self.image_shape, len(images), self.num_slots, len(self.bases), shape, "kaiming_uniform"
            )
        # detached, or it would be this memory's own parameter that stops being trained
        labelled.load_state_dict({"_bases": self.bases.detach(), "addressing": queries @ self.addressing}, assign=True)
        return labelled.requires_grad_(False)

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`."""
        weights = {name: value for name, value in state.items() if name.startswith(NETWORK)}
        tensors = super().named_tensors({name: value for name, value in state.items() if name not in weights})
        if not weights or tensors is None:
            return None
        return tensors | {FEATURES + name.removeprefix(NETWORK): value for name, value in weights.items()}

    @classmethod
    def tensor_shapes(cls, sizes: StoredSizes, num_bases: int) -> dict[str, tuple[int, ...]]:
        """See `Memory.tensor_shapes`."""
        assert sizes.query is not None
        shapes = super().tensor_shapes(sizes, num_bases)
        shapes["addressing"] = (sizes.num_slots, sizes.query.query_dim, num_bases)
        return shapes | {FEATURES + name: shape for name, shape in sizes.query.shapes(sizes.image_shape).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """See `Memory.from_tensors`."""
        assert sizes.query is not None
        memory = super().from_tensors(tensors, sizes)
        with torch.device("meta"):
            memory.feature_network = sizes.query.build(sizes.image_shape, sizes.query.query_dim)
        weights = {n.removeprefix(FEATURES): value for n, value in tensors.items() if n.startswith(FEATURES)}
        memory.feature_network.load_state_dict(weights, assign=True)
        return memory
