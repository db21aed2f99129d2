"""Meta-experience replay, and its use of Reptile: stochastic gradient descent, then part of the way back."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.replay.base import ReplayLearner
from rtp.utils.checks import check_positive

SampleLoss = Callable[[], Tensor]
"""The loss of one sample at the present weights."""


class MER(ReplayLearner):
    """Learns each sample in several batches, among replayed ones, with Reptile's interpolations within and across them.

    Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference", ICLR 2019,
    algorithm 1; see `reptile_within_and_across`. The new sample is the first of each batch, and replayed ones are drawn
    with replacement, at most as many as the reservoir holds, as in the authors' code.

    Args:
        batches_per_sample: s, at least 1.
        batch_size: k, the new sample and k - 1 replayed ones, at least 1.
        beta: Part of the way kept within a batch, positive.
        gamma: Part of the way kept across batches, positive.
        **kwargs: As in `ReplayLearner`; `learning_rate` is alpha, the rate of a step on one sample.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, batches_per_sample: int, batch_size: int, beta: float, gamma: float, **kwargs: Any) -> None:
        check_positive("batches_per_sample", batches_per_sample)
        check_positive("batch_size", batch_size)
        check_positive("beta", beta)
        check_positive("gamma", gamma)
        super().__init__(**kwargs)
        self.batches_per_sample = batches_per_sample
        self.batch_size = batch_size
        self.beta = beta
        self.gamma = gamma

    def learn(self, batch: StreamBatch) -> None:
        """Learn one sample after the other, and store each before the next."""
        for image, label in zip(batch.images.split(1), batch.labels.split(1), strict=True):
            sample = StreamBatch(image, label, batch.task, batch.replay, last=False)
            batches = [self._batch(sample) for _ in range(self.batches_per_sample)]
            reptile_within_and_across(self.weights, batches, self.learning_rate, self.beta, self.gamma)
            self.store(sample)

    def _batch(self, sample: StreamBatch) -> list[SampleLoss]:
        images, labels, tasks = self.reservoir.sample(self.batch_size - 1, replacement=True)
        replayed = zip(images[:, None], labels[:, None], tasks.tolist(), strict=True)
        return [partial(self.loss, *each) for each in ((sample.images, sample.labels, sample.task), *replayed)]


def reptile_within_and_across(
    weights: Sequence[Tensor], batches: Sequence[Sequence[SampleLoss]], learning_rate: float, beta: float, gamma: float
) -> None:
    """Change weights theta in place as MER's algorithm 1 does for one sample of the stream.

    Each batch is descended sample by sample, theta_j = theta_{j-1} - alpha grad l_j(theta_{j-1}), alpha being the
    learning rate, after which theta = theta_0 + beta (theta_k - theta_0). In the end, with theta^A from before the
    first batch, theta = theta^A + gamma (theta - theta^A). With beta = gamma = 1 this is plain descent.
    """
    start = [weight.detach().clone() for weight in weights]
    for batch in batches:
        before = [weight.detach().clone() for weight in weights]
        for loss in batch:
            gradients = torch.autograd.grad(loss(), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(gradient, alpha=learning_rate)
        _interpolate(weights, before, beta)
    _interpolate(weights, start, gamma)


@torch.no_grad()
def _interpolate(weights: Sequence[Tensor], origins: Sequence[Tensor], part: float) -> None:
    """Set the weights to origin + part * (weight - origin)."""
    for weight, origin in zip(weights, origins, strict=True):
        weight.copy_(origin.lerp(weight, part))
