"""Sparse La-MAML: learned which weights move, in place of how fast."""

from typing import Any

import torch
from torch import Tensor, nn

from rtp.modules.continual.meta.maml import LaMAML, Weights
from rtp.utils.checks import check_positive


class SparseLaMAML(LaMAML):
    """La-MAML whose rate is the same for all weights that move, and whose weights learn whether they do.

    The steps ahead are theta_{k'+1} = theta_k' - alpha 1[m >= 0] grad l_k'(theta_k'), with a number m for each weight.
    The outer step is m = m - eta grad_m, with the gradient of 1[m >= 0] taken for 1 (straight-through), and then
    theta_0 = theta_0 - alpha 1[m >= 0] grad_{theta_0}: a weight that is stopped in the steps ahead is stopped in the
    outer one too, as in La-MAML, while its m goes on learning.

    The P numbers m are not charged to the budget, as La-MAML's rates; `other_bytes` counts them.

    Deviations from the paper: its look-ahead learner was not at hand, so all that is not said about its masks is
    `LaMAML`'s, such as the mean of the losses ahead; and m starts from one positive number, `initial_mask`, so that all
    weights move at first.

    Von Oswald, Zhao, Kobayashi, Schug, Caccia, Zucchet and Sacramento, "Learning where to learn: Gradient sparsity in
    meta and continual learning", NeurIPS 2021.

    Args:
        initial_mask: m at the start, positive; the smaller, the sooner a weight can stop.
        **kwargs: As in `LaMAML`: `learning_rate` is eta, which m is learned with, `inner_learning_rate` is alpha.

    Attributes:
        rates: The numbers m, a tensor for each of the network's; part of the state.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, initial_mask: float, **kwargs: Any) -> None:
        check_positive("initial_mask", initial_mask)
        super().__init__(**kwargs)
        self.rates = nn.ParameterList(torch.full_like(weight, initial_mask) for weight in self.weights)

    def rates_from(self, learned: Weights) -> Weights:
        """Alpha where m is not negative, otherwise 0; alpha times `straight_through_step`."""
        return [self.inner_learning_rate * straight_through_step(each) for each in learned]


def straight_through_step(values: Tensor) -> Tensor:
    """1 where a value is at least 0, otherwise 0, of any shape; differentiated as if it were the value itself."""
    return (values >= 0).to(values) + (values - values.detach())  # the difference is exactly 0
