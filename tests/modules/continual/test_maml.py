"""C-MAML and La-MAML against finite differences and algorithm 1 of their paper."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.maml import CMAML, LaMAML


def ahead(by_hand: Any, theta: Tensor, rates: Tensor, batch: Any) -> list[Tensor]:
    """A step of each sample of a minibatch."""
    steps = []
    for single in zip(*(tensor.split(1) for tensor in by_hand.samples(batch)), strict=True):
        theta = theta - rates * by_hand.gradient(theta, single)
        steps.append(theta)
    return steps


def loss_ahead(by_hand: Any, theta: Tensor, rates: Tensor, batch: Any, outer: Any) -> Tensor:
    return torch.stack([by_hand.loss(step, outer) for step in ahead(by_hand, theta, rates, batch)]).mean()


def slope_by_differences(function: Any, point: Tensor) -> Tensor:
    step = 1e-6 * torch.eye(len(point), dtype=torch.double)
    return torch.stack([(function(point + e) - function(point - e)) / 2e-6 for e in step])


@pytest.mark.parametrize("own_heads", [False, True])
def test_c_maml_descends_the_loss_ahead(by_hand: Any, own_heads: bool) -> None:
    arguments = {"learning_rate": 0.4, "inner_learning_rate": 0.7, "second_order": True, "memory_images": 5}
    learner = by_hand.learner(CMAML, own_heads, **arguments)
    for step, task in enumerate((0, 1)):
        batch, theta = by_hand.batch(task), by_hand.weights(learner)
        torch.manual_seed(step)
        outer = by_hand.samples(batch, learner.reservoir.sample(4))
        assert len(outer[1]) == (8 if step else 4)
        rates = torch.full_like(theta, 0.7)
        slope = slope_by_differences(lambda x, b=batch, r=rates, o=outer: loss_ahead(by_hand, x, r, b, o), theta)
        torch.manual_seed(step)
        learner.learn(batch)
        torch.testing.assert_close(by_hand.weights(learner), theta - 0.4 * slope, atol=1e-8, rtol=0)
    assert learner.storage_floats == learner.budget_floats == 5 * 6


def test_first_order_c_maml_takes_the_gradient_from_ahead(by_hand: Any) -> None:
    arguments = {"learning_rate": 0.4, "inner_learning_rate": 0.7, "second_order": False, "memory_images": 5}
    learner = by_hand.learner(CMAML, **arguments)
    batch, theta = by_hand.batch(), by_hand.weights(learner)
    learner.learn(batch)
    steps = ahead(by_hand, theta, torch.full_like(theta, 0.7), batch)
    slope = torch.stack([by_hand.gradient(step, by_hand.samples(batch)) for step in steps]).mean(0)
    torch.testing.assert_close(by_hand.weights(learner), theta - 0.4 * slope)


@pytest.mark.parametrize("second_order", [False, True])
def test_la_maml_learns_its_rates_first(by_hand: Any, second_order: bool) -> None:
    eta, start = 30.0, 0.5
    learner = by_hand.learner(
        LaMAML, learning_rate=eta, inner_learning_rate=start, second_order=second_order, memory_images=5
    )
    batch, theta = by_hand.batch(), by_hand.weights(learner)
    rates = torch.full_like(theta, start)
    outer = by_hand.samples(batch)
    learner.learn(batch)
    if second_order:
        for_rates = slope_by_differences(lambda r: loss_ahead(by_hand, theta, r, batch, outer), rates)
        for_theta = slope_by_differences(lambda x: loss_ahead(by_hand, x, rates, batch, outer), theta)
    else:
        # the hypergradient: minus each outer gradient times the sum of the inner ones before it
        steps = ahead(by_hand, theta, rates, batch)
        slopes = [by_hand.gradient(step, outer) for step in steps]
        for_theta = torch.stack(slopes).mean(0)
        ways = [slope * (step - theta) / start for slope, step in zip(slopes, steps, strict=True)]
        for_rates = torch.stack(ways).mean(0)
    learned = rates - eta * for_rates
    assert (learned < 0).any()  # so that the cut at 0 is seen
    assert (learned > 0).any()
    torch.testing.assert_close(torch.cat([r.detach().flatten() for r in learner.rates]), learned, atol=1e-6, rtol=0)
    expected = theta - learned.clamp_min(0) * for_theta
    torch.testing.assert_close(by_hand.weights(learner), expected, atol=1e-6, rtol=0)
    assert learner.rate_floats == len(theta)


def test_a_replayed_minibatch_is_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(LaMAML, learning_rate=0.1, inner_learning_rate=0.1, second_order=False, memory_images=50)
    batch = by_hand.batch()
    for replay in range(3):
        learner.learn(batch._replace(replay=replay))
    assert learner.reservoir.seen == 4


def test_rates_must_be_positive(by_hand: Any) -> None:
    with pytest.raises(UserError, match="inner_learning_rate must be positive, got 0"):
        by_hand.learner(CMAML, learning_rate=0.1, inner_learning_rate=0, second_order=False, memory_images=1)
