"""Meta-learning on the stream: C-MAML, and La-MAML with a learned rate for every weight."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.replay.base import ReplayLearner
from rtp.utils.checks import check_positive

Weights = Sequence[Tensor]
"""A network's parameters, or tensors of the same shapes."""
Loss = Callable[[Weights], Tensor]
"""Maps a network's weights to the scalar loss of some samples."""


class CMAML(ReplayLearner):
    """Looks ahead at where the minibatch leads, and descends the loss there on the minibatch and replayed samples.

    theta_0 = theta_0 - beta grad_{theta_0} mean_k' L(theta_k'). `look_ahead` takes theta_1 to theta_k, a step of rate
    alpha for each sample of the minibatch; L is the mean over the minibatch and replayed samples. Then the minibatch is
    stored.

    Deviation from the paper: there it is L(theta_k) of the last step alone; the mean is the authors' code's. The
    network that is evaluated is theta_0, which the last step alone teaches little of the minibatch.

    Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020, section 4.1.

    Args:
        inner_learning_rate: alpha, of the steps ahead, positive.
        second_order: Whether the steps ahead are differentiated through their gradients; the authors' commands do so
            for CIFAR-100 and not for MNIST.
        gradient_clip: Largest norm of an outer gradient, positive; null for any. It is not in the paper; the authors'
            code has 2.
        **kwargs: As in `ReplayLearner`; `learning_rate` is beta, the rate of the outer step.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(
        self, inner_learning_rate: float, second_order: bool, gradient_clip: float | None = None, **kwargs: Any
    ) -> None:
        check_positive("inner_learning_rate", inner_learning_rate)
        check_positive("gradient_clip", gradient_clip)
        super().__init__(**kwargs)
        self.inner_learning_rate = inner_learning_rate
        self.second_order = second_order
        self.gradient_clip = gradient_clip

    def learn(self, batch: StreamBatch) -> None:
        """Take one outer step, then store."""
        rates = [weight.new_tensor(self.inner_learning_rate) for weight in self.weights]
        (gradient,) = clipped([self.gradient(self.meta_loss(batch, rates))], self.gradient_clip)
        self.step(gradient)
        self.store(batch)

    def meta_loss(self, batch: StreamBatch, rates: Weights) -> Tensor:
        """The mean of L over the steps ahead, differentiable with respect to the network's weights and the rates."""
        samples = zip(batch.images.split(1), batch.labels.split(1), strict=True)
        losses = [partial(self.loss, image, label, batch.task) for image, label in samples]
        steps = look_ahead(self.weights, rates, losses, self.second_order)
        outer = self.with_replay(batch)
        return torch.stack([self.loss(*outer, weights=weights) for weights in steps]).mean()


class LaMAML(CMAML):
    """C-MAML with a learned rate alpha for each weight, for the steps ahead and the outer one.

    alpha = alpha - eta grad_alpha, then theta_0 = theta_0 - max(0, alpha) grad_{theta_0}, with both gradients of
    C-MAML's outer loss taken before. The P rates are not charged to the budget, as in the paper; `other_bytes` counts
    them.

    Deviation from the paper: there the rates are cut off at 0 in the outer step alone; here also in the steps ahead, as
    in the authors' code.

    Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020, algorithm 1.

    Args:
        **kwargs: As in `CMAML`, but `learning_rate` is eta, which the rates are learned with, and `inner_learning_rate`
            is the initial alpha. `gradient_clip` is for the gradient of all rates, and for that of all weights.

    Attributes:
        rates: What is learned, a tensor for each of the network's; part of the state.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates = nn.ParameterList(torch.full_like(weight, self.inner_learning_rate) for weight in self.weights)

    def learn(self, batch: StreamBatch) -> None:
        """Take one outer step of the rates, then with them one of the weights, then store."""
        learned, weights = list(self.rates), self.weights
        gradients = torch.autograd.grad(self.meta_loss(batch, self.rates_from(learned)), [*learned, *weights])
        for_rates = clipped(gradients[: len(learned)], self.gradient_clip)
        for_weights = clipped(gradients[len(learned) :], self.gradient_clip)
        with torch.no_grad():
            for rate, for_rate in zip(learned, for_rates, strict=True):
                rate.sub_(for_rate, alpha=self.learning_rate)
            for weight, rate, for_weight in zip(weights, self.rates_from(learned), for_weights, strict=True):
                weight.sub_(rate * for_weight)
        self.store(batch)

    def rates_from(self, learned: Weights) -> Weights:
        """The rates of the steps ahead and of the outer step from what is learned, `rates`: max(0, alpha)."""
        return [rate.clamp_min(0) for rate in learned]


def clipped(gradients: Weights, largest: float | None) -> list[Tensor]:
    """Gradients, all scaled by the same factor if their joint norm is above `largest`; None changes nothing."""
    if largest is None:
        return list(gradients)
    norm = torch.nn.utils.get_total_norm(gradients)
    return [gradient * (largest / norm) for gradient in gradients] if norm > largest else list(gradients)


def look_ahead(weights: Weights, rates: Weights, losses: Sequence[Loss], second_order: bool) -> list[Weights]:
    """Take one step of gradient descent for each loss, one after the other.

    theta_{k'+1} = theta_k' - alpha * grad l_k'(theta_k'), the inner loop of La-MAML's algorithm 1.

    Args:
        weights: theta_0; they require gradients.
        rates: alpha, tensors of the weights' shapes, or scalars.
        losses: l_k' of each sample of a minibatch.
        second_order: Whether the result is differentiated through the gradients too; if not, they are constants, as in
            first-order MAML. For the rates this changes nothing if there is one loss.

    Returns:
        theta_1 to theta_k, differentiable with respect to `weights` and `rates`.
    """
    steps: list[Weights] = []
    for loss in losses:
        gradients = torch.autograd.grad(loss(weights), weights, create_graph=second_order)
        weights = [weight - rate * gradient for weight, rate, gradient in zip(weights, rates, gradients, strict=True)]
        steps.append(weights)
    return steps
