"""Engines that run the inner loop and differentiate through it (algorithm 1, lines 6 to 15)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rtp.modules.unroll.inner_optimizer import InnerOptimizer

WeightLoss = Callable[[Tensor], Tensor]
"""Maps the flat weights theta_T (P,) of a trained network, in the order of `parameters()`, to a scalar."""


@dataclass(frozen=True)
class RealImages:
    """The usual objective: the trained network's mean cross-entropy on real images.

    Attributes:
        images: (n, C, H, W) real images B of line 14.
        labels: (n,) their labels.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Episode:
    """One inner loop: the images that it trains on, and the objective of the trained network.

    Attributes:
        images: (m, C, H, W) recalled images, the only input that is differentiated.
        labels: (m,) their labels.
        minibatches: (T, b) indices into the recalled images, a row a step.
        objective: The outer loss, on real images or of the weights alone.
    """

    images: Tensor
    labels: Tensor
    minibatches: Tensor
    objective: RealImages | WeightLoss


class Unroll(ABC):
    """A way to compute the meta-loss J of equation 3 together with its gradient.

    Attributes:
        num_steps: Inner steps T; the paper uses 150 for budgets of 1 and 10 images a class, 200 for 50.
    """

    num_steps: int

    @abstractmethod
    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """Train the network on recalled images and compute its outer loss.

        Args:
            network: A fresh network, theta_0; its parameters are left as they are.
            optimizer: The inner loop's update rule.
            episode: The images; `minibatches` has `num_steps` rows.

        Returns:
            J(phi), a scalar, differentiable with respect to `episode.images`.
        """


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
