"""Elastic weight consolidation."""

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.experience_replay import ReplayLearner
from rtp.modules.continual.fisher import diagonal_fisher
from rtp.modules.continual.single_network import check_positive, flat
from rtp.modules.networks import NetworkFactory


class EWC(ReplayLearner):
    """Keeps weights that earlier tasks depend on near to where those tasks left them.

    The loss of a minibatch is l(theta) + lambda / 2 sum over earlier tasks k and weights i of F_ki (theta_i -
    theta_ki)^2, with the weights theta_k at the end of task k and the diagonal of the Fisher information there.

    One penalty a task, as in the paper. Their sum is a parabola, so two vectors hold it however many tasks there are:
    sum_k F_k and sum_k F_k theta_k. These 2 P numbers (P weights) are no samples, and are not charged to the budget,
    as in the tables of La-MAML (Gupta et al., NeurIPS 2020) that table 3 takes over: `penalty_floats` has them.

    Kirkpatrick et al., "Overcoming Catastrophic Forgetting in Neural Networks", PNAS 2017. In the single pass of the
    stream, the Fisher information is that of a uniform sample of the task, kept in the storage budget until its end.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: Of a step, positive.
        strength: lambda, positive; a step diverges where learning_rate * lambda * sum_k F_ki is above 2.
        memory_images: Storage budget, in real images, at least 1: samples for the Fisher information.

    Raises:
        UserError: If a number is out of its range.
    """

    importance: Tensor
    pull: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        strength: float,
        memory_images: int,
    ) -> None:
        check_positive("strength", strength)
        super().__init__(image_shape, num_classes, total_classes, num_tasks, network, learning_rate, memory_images)
        self.strength = strength
        theta = flat(self.weights).detach()
        self.register_buffer("importance", torch.zeros_like(theta))  # sum_k F_k
        self.register_buffer("pull", torch.zeros_like(theta))  # sum_k F_k theta_k

    @property
    def penalty_floats(self) -> int:
        """Floats of what holds the penalties, which the budget is not charged with."""
        return self.importance.numel() + self.pull.numel()

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        penalty = self.strength * (self.importance * flat(self.weights).detach() - self.pull)
        self.step(self.gradient(self.loss(batch.images, batch.labels, batch.task)) + penalty)
        self.store(batch)

    def end_task(self, task: int) -> None:
        """Add the task's penalty and forget its samples.

        Args:
            task: Number of the task.
        """
        images, _, _ = self.reservoir.content()
        outputs = torch.arange(self.total_classes, device=images.device)[None]
        columns = self.task_columns(outputs, task)[0]
        fisher = diagonal_fisher(self.net, images, columns)
        self.importance += fisher
        self.pull += fisher * flat(self.weights).detach()
        self.reservoir.clear()
