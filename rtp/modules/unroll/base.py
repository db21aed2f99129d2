"""Engines that run the inner loop and differentiate through it (algorithm 1, lines 6 to 15)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rtp.modules.unroll.inner_optimizer import InnerOptimizer

WeightLoss = Callable[[Tensor], Tensor]
"""Maps the flat weights theta_T (P,) of a trained network, in the order of `parameters()`, to a scalar."""
Combinations = tuple[Tensor, Tensor]
"""Coefficients V (m, K) and flat bases B (K, C * H * W) of images V B, both differentiable."""


@dataclass(frozen=True)
class RealImages:
    """The usual objective, mean cross-entropy on line 14's real images B (n, C, H, W) with labels (n,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Episode:
    """One inner loop: its training images and its objective.

    Attributes:
        images: (m, C, H, W) recalled images, a differentiable input.
        labels: (m,).
        minibatches: (T, b) indices into the recalled images, one row per step.
        objective: The outer loss, on real images or of the weights alone.
        rate_factor: Positive scalar that multiplies the inner loss, for SGD as good as its learning rate; the other
            differentiable input, if given.
        combinations: Returns the images once more, as combinations of bases, or None if they are not that; called by
            engines that use it.
    """

    images: Tensor
    labels: Tensor
    minibatches: Tensor
    objective: RealImages | WeightLoss
    rate_factor: Tensor | None = None
    combinations: Callable[[], Combinations | None] | None = None


class Unroll(ABC):
    """Computes the meta-loss J of equation 3 together with its gradient.

    Attributes:
        num_steps: Inner steps T; the paper uses 150 for budgets of 1 and 10 images per class, 200 for 50.
    """

    num_steps: int

    @abstractmethod
    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """Train on the recalled images and return J(phi), differentiable in images and rate factor.

        The network provides theta_0; its parameters do not change. `episode.minibatches` has `num_steps` rows.
        """


def draw_minibatches(num_classes: int, num_slots: int, slots_per_class: int, num_steps: int) -> Tensor:
    """Draw line 9's minibatches: each step takes equally many slots of every class, without replacement.

    Returns:
        (num_steps, num_classes * min(slots_per_class, num_slots)) indices into images recalled class by class,
        on the CPU, from torch's global generator.
    """
    ranks = torch.rand(num_steps, num_classes, num_slots)
    slots = ranks.topk(min(slots_per_class, num_slots), dim=2).indices  # of the largest numbers: a random subset
    return (slots + num_slots * torch.arange(num_classes)[:, None]).flatten(1)
