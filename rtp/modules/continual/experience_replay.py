"""Experience replay with a reservoir."""

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.reservoir import Reservoir
from rtp.modules.continual.single_network import SingleNetworkLearner, check_positive
from rtp.modules.networks import NetworkFactory

Samples = tuple[Tensor, Tensor, Tensor]
"""Images (n, C, H, W), labels (n,) and tasks (n,)."""


class ReplayLearner(SingleNetworkLearner):
    """A learner that stores real images in a reservoir as large as its storage budget.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: Of a step, positive.
        memory_images: Storage budget, in real images, at least 1.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        memory_images: int,
    ) -> None:
        check_positive("memory_images", memory_images)
        super().__init__(image_shape, num_classes, total_classes, num_tasks, network, learning_rate, memory_images)
        self.reservoir = Reservoir(memory_images, image_shape)

    @property
    def storage_floats(self) -> int:
        """See `ContinualLearner.storage_floats`."""
        return self.reservoir.floats

    def with_replay(self, batch: StreamBatch) -> Samples:
        """A minibatch and, where the reservoir holds that many, as many samples from there.

        Args:
            batch: The minibatch.
        """
        images, labels, tasks = self.reservoir.sample(len(batch.labels))
        own = torch.full_like(batch.labels, batch.task)
        return torch.cat([batch.images, images]), torch.cat([batch.labels, labels]), torch.cat([own, tasks])

    def store(self, batch: StreamBatch) -> None:
        """Show a minibatch to the reservoir, once however often it is handed out.

        Args:
            batch: The minibatch.
        """
        if batch.replay == 0:
            self.reservoir.add(batch.images, batch.labels, batch.task)


class ExperienceReplay(ReplayLearner):
    """Learns each minibatch together with as many stored samples, algorithm 1 with the reservoir of algorithm 2.

    theta = theta - alpha grad mean of l over the minibatch and the replayed samples; then the minibatch is stored.

    Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: Of a step, positive.
        memory_images: Storage budget, in real images, at least 1.

    Raises:
        UserError: If a number is out of its range.
    """

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        self.step(self.gradient(self.loss(*self.with_replay(batch))))
        self.store(batch)
