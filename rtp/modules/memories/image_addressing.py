"""A memory addressed by images instead of labels (sections 5.3.2 and B.3)."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rtp.errors import UserError
from rtp.modules.memories.addressable import SharedBases, random_bases
from rtp.modules.memories.base import Initialisation, StoredSizes
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.memories.data_start import ImagesOfClass, projection, sample_size, shrunk_classes, starting_bases
from rtp.modules.memories.number_formats import StoredType
from rtp.modules.networks import NetworkFactory
from rtp.utils.checks import check_at_least

NETWORK, FEATURES = "feature_network.", "features."
"""Prefix of the feature network's weights in a `state_dict` and in a file."""


class ImageAddressedMemory(SharedBases):
    """Bases and addressing matrices with a feature network h that computes the query, y = h(image).

    The paper gives the numbers of bases and matrices and says that "an extra ConvNet" outputs the query (A.3, B.3), but
    not its width. Here h is a usual network whose linear layer has `query_dim` outputs, neither bounded nor normalised.

    Bases, addressing matrices and h are learned, stored and charged together.

    Args:
        image_shape: (C, H, W) of the data set's images.
        num_classes: Number of classes, which matters for a start from data alone.
        feature_network: Builds h, called with the image shape and `query_dim` instead of the number of classes.
        query_dim: Width d_y of the query; not published.
        num_bases: Number K of bases; the paper uses 64 (A.3).
        num_slots: Addressing matrices r, the number of images a query recalls; the paper uses 16 (A.3).
        downsampling: Bases are smaller than images by this factor in height and width; the paper uses 2 (5.1).
        init: Initialisation of bases and addressing matrices, see `AddressableMemory`.
        stored_as: Format of bases, addressing matrices and the weights of h, see `AddressableMemory`; beside integers,
            biases and the scales of norms are stored in float32.
        float_steps: See `AddressableMemory`.

    Raises:
        UserError: If a size is below 1, `downsampling` does not divide the image, h has another width, or `float_steps`
            is set for float32.
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
        stored_as: StoredType = "float32",
        float_steps: int = 0,
    ) -> None:
        for name, value in (("query_dim", query_dim), ("num_bases", num_bases), ("num_slots", num_slots)):
            check_at_least(name, value, 1)
        basis_shape = StorageBudget(1, num_classes, image_shape, downsampling).basis_shape
        super().__init__(image_shape, *random_bases(query_dim, num_slots, num_bases, basis_shape, init))
        self.num_classes = num_classes
        self.starts_from_data = init == "data"
        self._store_as(stored_as, float_steps)
        self.feature_network: nn.Module = feature_network(image_shape, query_dim)
        with torch.no_grad():
            width = tuple(self.feature_network(torch.zeros(1, *image_shape)).shape[1:])
        if width != (query_dim,):
            raise UserError(
                f"{type(self.feature_network).__name__} makes queries of the shape {width}, not of {query_dim} "
                "numbers: let it have as many outputs as its second argument says"
            )

    @torch.no_grad()
    def start_from(self, images_of: ImagesOfClass) -> None:
        """See `Memory.start_from`: bases as `SharedBases`; what a slot recalls by an image fits others of its class.

        The feature network keeps its random weights. Matrix A_i is the least-squares map from the queries of a sample
        to the coefficients of the images that follow, each i + 1 places later in its class.
        """
        count = sample_size(self.num_classes, self.num_slots)
        images = shrunk_classes(images_of, self.num_classes, count, self._bases.shape[1:])
        bases = starting_bases(images.flatten(0, 1), len(self._bases))
        queries = torch.cat([self.query(images_of(label, count)) for label in range(self.num_classes)])  # (n, d_y)
        to_matrix = torch.linalg.pinv(queries.double().cpu())
        targets = images.flatten(2) @ projection(bases)  # (num_classes, count, K)
        self._bases.copy_(bases)
        for slot, matrix in enumerate(self.addressing):
            matrix.copy_(to_matrix @ targets.roll(-slot - 1, 1).flatten(0, 1))

    def query(self, images: Tensor) -> Tensor:
        """Queries y = h(image), (n, query_dim), of preprocessed images (n, C, H, W)."""
        weights = {name: self._as_stored(weight) for name, weight in self.feature_network.named_parameters()}
        return functional_call(self.feature_network, weights, (images,))

    def recall_images(self, images: Tensor) -> Tensor:
        """Recall (n, num_slots, C, H, W) by preprocessed images (n, C, H, W); differentiable in all parameters."""
        return self.recall_queries(self.query(images))

    @torch.no_grad()
    def addressed_by(self, images: Tensor) -> SharedBases:
        """A memory whose labels stand for preprocessed images (c, C, H, W): A'_i = Y A_i maps label c to query Y_c.

        It shares the bases and has no gradients.
        """
        # detached, or requires_grad_ would stop the training of this memory's own bases
        labelled = SharedBases(self.image_shape, self.bases.detach(), self.query(images) @ self.stored_addressing)
        return labelled.requires_grad_(False)

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`."""
        weights = {FEATURES + n.removeprefix(NETWORK): value for n, value in state.items() if n.startswith(NETWORK)}
        tensors = super().named_tensors({n: value for n, value in state.items() if not n.startswith(NETWORK)})
        return tensors | weights if weights and tensors is not None else None

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
