"""The base of the learners that store real images in a reservoir."""

from typing import Any

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.single_network import SingleNetworkLearner
from rtp.modules.continual.stores.base import SampleBits
from rtp.modules.continual.stores.reservoir import Reservoir
from rtp.utils.checks import check_positive

Samples = tuple[Tensor, Tensor, Tensor]
"""Images (n, C, H, W), labels (n,) and tasks (n,)."""


class ReplayLearner(SingleNetworkLearner):
    """A learner that stores real images in a reservoir as large as its storage budget.

    Args:
        memory_images: Storage budget, in real images of 32 bits a number, at least 1.
        sample_bits: Bits of a stored image's numbers: 32, as in the paper, or 8, in which four times as many images
            fit, see `SampleStore`.
        **kwargs: As in `SingleNetworkLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, memory_images: int, sample_bits: SampleBits = 32, **kwargs: Any) -> None:
        check_positive("memory_images", memory_images)
        super().__init__(memory_images=memory_images, **kwargs)
        self.sample_bits = sample_bits
        self.reservoir = self._fresh_reservoir()

    def _fresh_reservoir(self) -> Reservoir:
        return Reservoir(self.num_places(self.sample_bits), self.image_shape, self.sample_bits)

    def with_replay(self, batch: StreamBatch) -> Samples:
        """A minibatch and as many samples from the reservoir, or all that it holds if fewer."""
        images, labels, tasks = self.reservoir.sample(len(batch.labels))
        own = torch.full_like(batch.labels, batch.task)
        return torch.cat([batch.images, images]), torch.cat([batch.labels, labels]), torch.cat([own, tasks])

    def store(self, batch: StreamBatch) -> None:
        """Add a minibatch to the reservoir, the first time that it is seen."""
        if batch.replay == 0:
            self.reservoir.add(batch.images, batch.labels, batch.task)
