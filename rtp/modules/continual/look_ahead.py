"""The inner loop of meta-learning on a stream: C-MAML's and La-MAML's look ahead."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Weights = Sequence[Tensor]
"""A network's parameters or as many tensors of their shapes."""
Loss = Callable[[Weights], Tensor]
"""From a network's weights to the scalar loss of some samples."""


def look_ahead(weights: Weights, rates: Weights, losses: Sequence[Loss], second_order: bool) -> list[Weights]:
    """Take one step of gradient descent for each loss, one after the other.

    theta_{k'+1} = theta_k' - max(0, alpha) * grad l_k'(theta_k'), the inner loop of La-MAML's algorithm 1.

    Deviation from the paper: there the rates are cut off at 0 in the outer step alone; here also in these steps, as in
    the authors' code.

    Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.

    Args:
        weights: theta_0; they require gradients.
        rates: alpha, tensors of the weights' shapes, or scalars.
        losses: l_k' of one sample after the other; a minibatch's of the current task.
        second_order: Whether the result is differentiated through the gradients too; if not, these are constants, as in
            first-order MAML. For the rates this changes nothing when there is one loss.

    Returns:
        theta_1 to theta_k, differentiable with respect to `weights` and `rates`.
    """
    steps: list[Weights] = []
    for loss in losses:
        gradients = torch.autograd.grad(loss(weights), weights, create_graph=second_order)
        weights = [
            weight - rate.clamp_min(0) * gradient
            for weight, rate, gradient in zip(weights, rates, gradients, strict=True)
        ]
        steps.append(weights)
    return steps
