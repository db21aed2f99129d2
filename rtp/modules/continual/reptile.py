"""Meta-experience replay's use of Reptile: stochastic gradient descent, then part of the way back."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SampleLoss = Callable[[], Tensor]
"""The loss of one sample at the weights as they are."""


def reptile_within_and_across(
    weights: Sequence[Tensor],
    batches: Sequence[Sequence[SampleLoss]],
    learning_rate: float,
    within_batch: float,
    across_batches: float,
) -> None:
    """Change weights as MER's algorithm 1 does for one sample of the stream.

    Each batch is descended sample by sample, theta_j = theta_{j-1} - alpha grad l_j(theta_{j-1}), after which
    theta = theta_0 + beta (theta_k - theta_0); in the end, with theta^A from before the first batch,
    theta = theta^A + gamma (theta - theta^A).

    Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference", ICLR 2019.

    Args:
        weights: theta, which require gradients and are changed in place.
        batches: Losses of the samples of each batch.
        learning_rate: alpha.
        within_batch: beta; 1 is plain descent.
        across_batches: gamma; 1 keeps what the batches led to.
    """
    start = [weight.detach().clone() for weight in weights]
    for batch in batches:
        before = [weight.detach().clone() for weight in weights]
        for loss in batch:
            gradients = torch.autograd.grad(loss(), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(gradient, alpha=learning_rate)
        _interpolate(weights, before, within_batch)
    _interpolate(weights, start, across_batches)


@torch.no_grad()
def _interpolate(weights: Sequence[Tensor], origins: Sequence[Tensor], part: float) -> None:
    """Go from the origins a part of the way to where the weights are."""
    for weight, origin in zip(weights, origins, strict=True):
        weight.copy_(origin.lerp(weight, part))
