"""Gradient episodic memory."""

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.continual.gradient_projection import project_gradient
from rtp.modules.continual.single_network import SingleNetworkLearner
from rtp.modules.networks import NetworkFactory


class GEM(SingleNetworkLearner):
    """Steps along the gradient nearest to the minibatch's that increases no earlier task's loss on its stored samples.

    The last memory_images / T samples of each task are stored, as in the paper; `project_gradient` has the equations.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, algorithm 1.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: Of a step, positive.
        margin: gamma, at least 0; the authors use 0.5 (their code).
        memory_images: Storage budget, in real images, at least T.

    Raises:
        UserError: If a number is out of its range.
    """

    images: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        margin: float,
        memory_images: int,
    ) -> None:
        if margin < 0:
            raise UserError(f"margin must be at least 0, got {margin}")
        if memory_images < num_tasks:
            raise UserError(f"memory_images is {memory_images}, less than one image for each of {num_tasks} tasks")
        super().__init__(image_shape, num_classes, total_classes, num_tasks, network, learning_rate, memory_images)
        self.margin = margin
        places = memory_images // num_tasks
        self.register_buffer("images", torch.zeros(num_tasks, places, *image_shape))
        self.register_buffer("labels", torch.zeros(num_tasks, places, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(num_tasks, dtype=torch.int64))

    @property
    def storage_floats(self) -> int:
        """See `ContinualLearner.storage_floats`."""
        held = self.seen.clamp_max(self.labels.shape[1]).sum()
        return int(held) * self.images[0, 0].numel()

    def learn(self, batch: StreamBatch) -> None:
        """Store, then take one step."""
        if batch.replay == 0:
            self._store(batch)
        earlier = [self.gradient(self.loss(*self._stored(task), task)) for task in range(batch.task)]
        gradient = self.gradient(self.loss(batch.images, batch.labels, batch.task))
        self.step(project_gradient(gradient, torch.stack(earlier), self.margin) if earlier else gradient)

    def _stored(self, task: int) -> tuple[Tensor, Tensor]:
        held = int(self.seen[task])
        return self.images[task, :held], self.labels[task, :held]

    def _store(self, batch: StreamBatch) -> None:
        """Put samples in the places of the task's oldest ones."""
        places = self.labels.shape[1]
        images, labels = batch.images[-places:], batch.labels[-places:]
        end = self.seen[batch.task] + len(batch.labels)
        where = torch.arange(-len(labels), 0, device=end.device).add(end).remainder(places)
        self.images[batch.task, where] = images.to(self.images)
        self.labels[batch.task, where] = labels
        self.seen[batch.task] = end
