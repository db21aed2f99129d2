"""Sparse La-MAML against finite differences of the loss ahead, and its mask in closed form."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.meta.sparse_lamaml import SparseLaMAML, straight_through_step


def masks(learner: Any) -> Tensor:
    return torch.cat([m.detach().flatten() for m in learner.rates])


@pytest.mark.parametrize("second_order", [False, True])
def test_the_masks_are_learned_first_and_stop_weights_in_both_loops(by_hand: Any, second_order: bool) -> None:
    alpha, eta, start = 0.5, 2.0, 0.01
    arguments = {"learning_rate": eta, "inner_learning_rate": alpha, "initial_mask": start, "memory_images": 5}
    learner = by_hand.learner(SparseLaMAML, second_order=second_order, **arguments)
    m = torch.full_like(by_hand.weights(learner), start)
    stopped = []
    for step in range(3):
        batch, theta = by_hand.batch(), by_hand.weights(learner)
        torch.manual_seed(step)
        outer = by_hand.samples(batch, learner.reservoir.sample(4))
        rates = alpha * (m >= 0).double()
        if second_order:
            # of a mask that is 0, too: the derivative of 1[m >= 0] is taken for 1
            for_rates = by_hand.by_differences(
                lambda r, t=theta, b=batch, o=outer: by_hand.loss_ahead(t, r, b, o), rates
            )
            for_theta = by_hand.by_differences(
                lambda t, r=rates, b=batch, o=outer: by_hand.loss_ahead(t, r, b, o), theta
            )
        else:
            for_theta, for_rates, total = (torch.zeros_like(theta) for _ in range(3))
            at = theta
            singles = list(zip(*(tensor.split(1) for tensor in by_hand.samples(batch)), strict=True))
            for single in singles:
                inner = by_hand.gradient(at, single)
                at, total = at - rates * inner, total + inner
                gradient = by_hand.gradient(at, outer) / len(singles)
                for_theta, for_rates = for_theta + gradient, for_rates - gradient * total
        m = m - eta * alpha * for_rates
        torch.manual_seed(step)
        learner.learn(batch)
        torch.testing.assert_close(masks(learner), m, atol=1e-7, rtol=0)
        expected = theta - alpha * (m >= 0) * for_theta
        torch.testing.assert_close(by_hand.weights(learner), expected, atol=1e-7, rtol=0)
        assert torch.equal(by_hand.weights(learner)[m < 0], theta[m < 0])
        stopped.append(int((m < 0).sum()))
    assert min(stopped) > 0
    assert max(stopped) < len(m)


def test_a_step_with_the_derivative_of_a_line() -> None:
    values = torch.tensor([-2.0, -1e-9, 0.0, 1e-9, 3.0], requires_grad=True)
    steps = straight_through_step(values)
    assert steps.tolist() == [0, 0, 1, 1, 1]
    outer = torch.arange(5.0)
    assert torch.equal(torch.autograd.grad(outer @ steps, values)[0], outer)


def test_a_mask_starts_open(by_hand: Any) -> None:
    arguments = {"learning_rate": 0.1, "inner_learning_rate": 0.1, "second_order": False, "memory_images": 5}
    with pytest.raises(UserError, match="initial_mask must be positive, got 0"):
        by_hand.learner(SparseLaMAML, initial_mask=0, **arguments)
