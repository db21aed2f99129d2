"""Elastic weight consolidation, and the diagonal of the Fisher information that it uses."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.replay.base import ReplayLearner
from rtp.utils.checks import check_positive


class EWC(ReplayLearner):
    """Keeps weights that earlier tasks depend on near their values at the end of those tasks.

    The loss of a minibatch is l(theta) + lambda / 2 sum over earlier tasks k and weights i of F_ki (theta_i -
    theta_ki)^2, with the weights theta_k at the end of task k and the diagonal of the Fisher information there.

    One penalty a task, as in the paper. Their sum is a parabola, so two vectors hold it however many tasks there are:
    sum_k F_k and sum_k F_k theta_k. These 2 P numbers for P weights are not charged to the budget, as in the tables of
    La-MAML (Gupta et al., NeurIPS 2020) that table 3 takes over; `other_bytes` counts them.

    Kirkpatrick et al., "Overcoming Catastrophic Forgetting in Neural Networks", PNAS 2017. As the stream is seen once,
    the Fisher information is that of a uniform sample of the task, kept until its end in the storage budget.

    Args:
        ewc_lambda: lambda, positive; a step diverges where learning_rate * lambda * sum_k F_ki is above 2.
        **kwargs: As in `ReplayLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    importance: Tensor
    pull: Tensor

    def __init__(self, ewc_lambda: float, **kwargs: Any) -> None:
        check_positive("ewc_lambda", ewc_lambda)
        super().__init__(**kwargs)
        self.ewc_lambda = ewc_lambda
        theta = parameters_to_vector(self.weights).detach()
        self.register_buffer("importance", torch.zeros_like(theta))  # sum_k F_k
        self.register_buffer("pull", torch.zeros_like(theta))  # sum_k F_k theta_k

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        penalty = self.ewc_lambda * (self.importance * parameters_to_vector(self.weights).detach() - self.pull)
        self.step(self.gradient(self.loss(batch.images, batch.labels, batch.task)) + penalty)
        self.store(batch)

    def end_task(self, task: int) -> None:
        """Add the task's penalty and forget its samples."""
        images, _, _ = self.reservoir.content()
        outputs = torch.arange(self.total_classes, device=images.device)[None]
        fisher = diagonal_fisher(self.net, images, self.task_columns(outputs, task)[0])
        self.importance += fisher
        self.pull += fisher * parameters_to_vector(self.weights).detach()
        self.reservoir.clear()


def diagonal_fisher(network: nn.Module, images: Tensor, columns: Tensor) -> Tensor:
    """F_i = mean over x of sum over y of p(y|x) (d log p(y|x) / d theta_i)^2.

    The expectation over the network's labels is exact, one term a class; it is often sampled.

    Args:
        network: Maps images (n, C, H, W) to logits (n, total_classes).
        images: (n, C, H, W), n at least 1.
        columns: (c,) indices of the logits of the images' task; p is their softmax.

    Returns:
        (P,), in the order of `network.parameters()`.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def log_probabilities(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return F.log_softmax(functional_call(network, parameters, (image[None],))[0, columns], dim=0)

    fisher = torch.zeros_like(parameters_to_vector(parameters.values()))
    for image in images:  # one at a time: its derivatives have c * P numbers
        probabilities = log_probabilities(parameters, image).exp()
        gradients = jacrev(log_probabilities)(parameters, image)
        fisher += torch.cat([probabilities @ gradient.flatten(1).square() for gradient in gradients.values()])
    return fisher / len(images)
