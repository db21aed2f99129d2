"""The base of the learners that train one network on the stream."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.modules.continual.base import ContinualLearner
from rtp.utils.checks import check_positive


class SingleNetworkLearner(ContinualLearner):
    """Trains one network for all tasks by stochastic gradient descent without momentum.

    Args:
        learning_rate: Learning rate of a step, positive.
        memory_images: Storage budget, in real images.
        **kwargs: As in `ContinualLearner`.

    Attributes:
        net: The network being trained.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, learning_rate: float, memory_images: int = 0, **kwargs: Any) -> None:
        super().__init__(memory_images=memory_images, **kwargs)
        check_positive("learning_rate", learning_rate)
        self.net = self.fresh_network(self.total_classes)
        self.learning_rate = learning_rate

    @property
    def weights(self) -> list[nn.Parameter]:
        """The network's parameters."""
        return list(self.net.parameters())

    @property
    def needs_task(self) -> bool:
        """Whether each task has outputs of its own, which the task's number picks; a shared head needs no number."""
        return self.own_heads

    def predict(self, images: Tensor, task: int) -> Tensor:
        """See `ContinualLearner.predict`."""
        return self.task_columns(self.net(images), task)

    def loss(
        self, images: Tensor, labels: Tensor, tasks: Tensor | int, weights: Sequence[Tensor] | None = None
    ) -> Tensor:
        """The mean cross-entropy, each sample's over the classes of its own task, a differentiable scalar.

        Args:
            images: (n, C, H, W).
            labels: (n,) in 0..num_classes-1.
            tasks: (n,) number of each sample's task, or the one task of all of them.
            weights: Replace the network's own, in the order of `weights`.

        Raises:
            DivergenceError: If the loss is not finite.
        """
        if weights is None:  # a functional call would make a step of one sample a fifth slower
            return self.loss_of_logits(self.net(images), labels, tasks)
        names = (name for name, _ in self.net.named_parameters())
        logits = functional_call(self.net, dict(zip(names, weights, strict=True)), (images,))
        return self.loss_of_logits(logits, labels, tasks)

    def loss_of_logits(self, logits: Tensor, labels: Tensor, tasks: Tensor | int) -> Tensor:
        """`loss` from the network's logits (n, total_classes)."""
        if isinstance(tasks, int):
            logits = self.task_columns(logits, tasks)
        elif self.own_heads:
            columns = torch.arange(self.num_classes, device=tasks.device)
            logits = logits.gather(1, tasks[:, None] * self.num_classes + columns)
        loss = F.cross_entropy(logits, labels)
        self.check_finite("the loss", loss)
        return loss

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient (P,) of a loss, in the order of `weights`."""
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, self.weights)])

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: float | None = None) -> None:
        """Descend: theta = theta - learning_rate * gradient (P,), in the order of `weights`; by default at its own."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        parts = gradient.split([weight.numel() for weight in self.weights])
        for weight, part in zip(self.weights, parts, strict=True):
            weight.sub_(part.view_as(weight), alpha=rate)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None: the weights are updated manually, and there is no other state."""
        return []
