"""Engines that run the inner loop and differentiate through it (algorithm 1, lines 6 to 15)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.inner_optimizer import InnerOptimizer

Objective = Callable[[Tensor], Tensor]
"""Judges a trained network: from its flat weights theta_T (P,), in the order of `parameters()`, to a scalar."""


@dataclass(frozen=True)
class Episode:
    """What one inner loop trains on and what it is judged by.

    Attributes:
        images: (m, C, H, W) recalled images, the only input that is differentiated.
        labels: (m,) their labels.
        minibatches: (T, b) indices into the recalled images, a row a step.
        real_images: (n, C, H, W) real images B of line 14.
        real_labels: (n,) their labels.
    """

    images: Tensor
    labels: Tensor
    minibatches: Tensor
    real_images: Tensor
    real_labels: Tensor


class Unroll(ABC):
    """A way to compute the meta-loss J of equation 3 together with its gradient.

    Attributes:
        num_steps: Inner steps T; the paper uses 150 for budgets of 1 and 10 images a class, 200 for 50.
    """

    num_steps: int

    @abstractmethod
    def meta_loss(
        self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode, objective: Objective | None = None
    ) -> Tensor:
        """Train the network on recalled images and judge it on real ones.

        Args:
            network: A fresh network, theta_0; its parameters are left as they are.
            optimizer: The inner loop's update rule.
            episode: The images; `minibatches` has `num_steps` rows.
            objective: Judges the trained network in place of its mean cross-entropy on the real images.

        Returns:
            J(phi), a scalar, differentiable with respect to `episode.images`.
        """


@dataclass(frozen=True)
class HigherUnroll(Unroll):
    """Back-propagation through time with `higher`: the whole graph of the loop is kept.

    The reference, and right for short loops: memory grows with the number of steps (about 0.6 GB a step for
    ConvNet-128 and 100 images of 32x32).

    Args:
        num_steps: Inner steps T, at least 1.

    Raises:
        UserError: If `num_steps` is below 1.
    """

    num_steps: int

    def __post_init__(self) -> None:
        """Check the range."""
        if self.num_steps < 1:
            raise UserError(f"num_steps must be at least 1, got {self.num_steps}")

    def meta_loss(
        self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode, objective: Objective | None = None
    ) -> Tensor:
        """See `Unroll.meta_loss`."""
        names, theta_0 = zip(*network.named_parameters(), strict=True)
        inner = optimizer.differentiable(theta_0)
        theta = theta_0

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            # functional_call, as higher's own patching refuses networks with an abstract base
            weights = dict(zip(names, theta, strict=True))
            return F.cross_entropy(functional_call(network, weights, (images,)), labels)

        for batch in episode.minibatches:
            theta = inner.step(loss(episode.images[batch], episode.labels[batch]), params=theta)
        if objective is not None:
            return objective(torch.cat([weights.flatten() for weights in theta]))
        return loss(episode.real_images, episode.real_labels)


def draw_minibatches(num_classes: int, num_slots: int, slots_per_class: int, num_steps: int) -> Tensor:
    """Draw line 9's minibatches: for each step the same number of slots of every class, without replacement.

    Args:
        num_classes: Classes whose images were recalled, class by class.
        num_slots: Recalled images a class.
        slots_per_class: Images of each class in a minibatch; all of them where there are fewer.
        num_steps: Rows to draw.

    Returns:
        (num_steps, num_classes * min(slots_per_class, num_slots)) indices into the recalled images, on the CPU,
        from torch's global generator.
    """
    chosen = min(slots_per_class, num_slots)
    ranks = torch.rand(num_steps, num_classes, num_slots)
    slots = ranks.topk(chosen, dim=2).indices  # the places of the largest of r random numbers: a random subset
    return (slots + num_slots * torch.arange(num_classes)[:, None]).flatten(1)
