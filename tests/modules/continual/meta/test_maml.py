"""C-MAML and La-MAML against finite differences and algorithm 1 of their paper."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.meta.maml import CMAML, LaMAML, Loss, Weights, clipped, look_ahead


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
        gradient = by_hand.by_differences(lambda x, b=batch, r=rates, o=outer: by_hand.loss_ahead(x, r, b, o), theta)
        torch.manual_seed(step)
        learner.learn(batch)
        torch.testing.assert_close(by_hand.weights(learner), theta - 0.4 * gradient, atol=1e-8, rtol=0)
    assert learner.storage_bytes == learner.budget_bytes == 5 * 24


def test_first_order_c_maml_takes_the_gradient_from_ahead(by_hand: Any) -> None:
    arguments = {"learning_rate": 0.4, "inner_learning_rate": 0.7, "second_order": False, "memory_images": 5}
    learner = by_hand.learner(CMAML, **arguments)
    batch, theta = by_hand.batch(), by_hand.weights(learner)
    learner.learn(batch)
    steps = by_hand.ahead(theta, torch.full_like(theta, 0.7), batch)
    gradient = torch.stack([by_hand.gradient(step, by_hand.samples(batch)) for step in steps]).mean(0)
    torch.testing.assert_close(by_hand.weights(learner), theta - 0.4 * gradient)


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
        for_rates = by_hand.by_differences(lambda r: by_hand.loss_ahead(theta, r, batch, outer), rates)
        for_theta = by_hand.by_differences(lambda x: by_hand.loss_ahead(x, rates, batch, outer), theta)
    else:
        # the hypergradient: minus each outer gradient times the sum of the inner ones before it
        steps = by_hand.ahead(theta, rates, batch)
        gradients = [by_hand.gradient(step, outer) for step in steps]
        for_theta = torch.stack(gradients).mean(0)
        ways = [gradient * (step - theta) / start for gradient, step in zip(gradients, steps, strict=True)]
        for_rates = torch.stack(ways).mean(0)
    learned = rates - eta * for_rates
    assert (learned < 0).any()  # so that the cut at 0 is seen
    assert (learned > 0).any()
    torch.testing.assert_close(torch.cat([r.detach().flatten() for r in learner.rates]), learned, atol=1e-6, rtol=0)
    expected = theta - learned.clamp_min(0) * for_theta
    torch.testing.assert_close(by_hand.weights(learner), expected, atol=1e-6, rtol=0)


def test_a_replayed_minibatch_is_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(LaMAML, learning_rate=0.1, inner_learning_rate=0.1, second_order=False, memory_images=50)
    batch = by_hand.batch()
    for replay in range(3):
        learner.learn(batch._replace(replay=replay))
    assert learner.reservoir.seen == 4


def test_rates_must_be_positive(by_hand: Any) -> None:
    with pytest.raises(UserError, match="inner_learning_rate must be positive, got 0"):
        by_hand.learner(CMAML, learning_rate=0.1, inner_learning_rate=0, second_order=False, memory_images=1)


def quadratic(curvature: Tensor, minimum: Tensor) -> Loss:
    def loss(weights: Weights) -> Tensor:
        return (curvature * (weights[0] - minimum) ** 2).sum() / 2

    return loss


@pytest.fixture
def bowls() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, dtype=torch.double), torch.randn(2, 3, dtype=torch.double)


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.double, requires_grad=True)


def test_two_steps_and_their_derivatives_in_closed_form(bowls: tuple[Tensor, Tensor]) -> None:
    (a, b), (m, n) = bowls
    theta, alpha = leaf(0.3, -1.0, 2.0), leaf(0.5, 0.1, 0.2)
    (one,), (result,) = look_ahead([theta], [alpha], [quadratic(a, m), quadratic(b, n)], second_order=True)
    first = theta - alpha * a * (theta - m)
    second = first - alpha * b * (first - n)
    torch.testing.assert_close(one, first)
    torch.testing.assert_close(result, second)
    outer = torch.randn(3, dtype=torch.double)
    for_theta, for_alpha = torch.autograd.grad(outer @ result, [theta, alpha])
    torch.testing.assert_close(for_theta, outer * (1 - alpha * a) * (1 - alpha * b))
    gradient = -a * (theta - m) * (1 - alpha * b) - b * (first - n)
    torch.testing.assert_close(for_alpha, outer * gradient)


def test_first_order_takes_the_gradients_for_constants(bowls: tuple[Tensor, Tensor]) -> None:
    (a, b), (m, n) = bowls
    theta, alpha = leaf(0.3, -1.0, 2.0), leaf(0.5, 0.1, 0.2)
    _, (result,) = look_ahead([theta], [alpha], [quadratic(a, m), quadratic(b, n)], second_order=False)
    first = theta - alpha * a * (theta - m)
    torch.testing.assert_close(result, first - alpha * b * (first - n))
    outer = torch.randn(3, dtype=torch.double)
    for_theta, for_alpha = torch.autograd.grad(outer @ result, [theta, alpha])
    torch.testing.assert_close(for_theta, outer)
    # the hypergradient: minus the sum of the inner gradients, times the outer one
    torch.testing.assert_close(for_alpha, -outer * (a * (theta - m) + b * (first - n)))


def test_negative_rates_stand_still(by_hand: Any) -> None:
    learner = by_hand.learner(LaMAML, learning_rate=1e-9, inner_learning_rate=0.1, second_order=False, memory_images=5)
    with torch.no_grad():
        learner.rates[0][:2] = -0.5
    before = learner.weights[0].detach().clone()
    rates = learner.rates_from(list(learner.rates))
    assert [float(rate.detach().min()) for rate in rates] == pytest.approx([0, 0.1, 0.1, 0.1])
    learner.learn(by_hand.batch())
    assert (learner.weights[0] == before).all(1).tolist() == [True, True, False, False]


@pytest.mark.parametrize("kind", [CMAML, LaMAML])
def test_gradients_are_clipped_to_their_norm(kind: type[CMAML], by_hand: Any) -> None:
    batch = by_hand.batch()
    moves, learned = [], []
    for clip in (None, 1e-3):
        learner = by_hand.learner(
            kind,
            learning_rate=0.1,
            inner_learning_rate=0.1,
            second_order=False,
            memory_images=5,
            gradient_clip=clip,
        )
        before = by_hand.weights(learner)
        learner.learn(batch)
        moves.append(by_hand.weights(learner) - before)
        learned.append(torch.cat([rate.detach().flatten() - 0.1 for rate in getattr(learner, "rates", [])] or [before]))
    if kind is CMAML:
        torch.testing.assert_close(moves[1], moves[0] * (1e-4 / moves[0].norm()))
    else:  # rates and weights each by their own norm; the clipped rates stay near 0.1
        torch.testing.assert_close(learned[1], learned[0] * (1e-4 / learned[0].norm()))
        torch.testing.assert_close(moves[1].norm(), torch.tensor(1e-4).double(), rtol=1e-2, atol=0)


def test_a_short_gradient_is_not_clipped() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([[4.0, 0.0]])]
    for largest in (None, 5.0):
        assert all(map(torch.equal, clipped(gradients, largest), gradients))
    first, second = clipped(gradients, 1.0)
    torch.testing.assert_close(first, torch.tensor([0.6]))
    torch.testing.assert_close(second, torch.tensor([[0.8, 0.0]]))


def test_a_clip_is_positive(by_hand: Any) -> None:
    arguments = {"learning_rate": 0.1, "inner_learning_rate": 0.1, "second_order": False, "memory_images": 5}
    with pytest.raises(UserError, match="gradient_clip must be positive, got 0"):
        by_hand.learner(CMAML, gradient_clip=0, **arguments)


def test_gradient_by_finite_differences() -> None:
    torch.manual_seed(0)
    matrix, sample = torch.randn(4, 3, dtype=torch.double), torch.randn(3, 3, dtype=torch.double)

    def loss_of(vector: Tensor) -> Loss:
        return lambda weights: (torch.tanh(weights[0] @ vector) ** 2).sum() + weights[1] * weights[0].sum().sin()

    def end(theta: Tensor, offset: Tensor, alpha: Tensor, rate: Tensor) -> Tensor:
        steps = look_ahead([theta, offset], [alpha, rate], [loss_of(x) for x in sample], second_order=True)
        first, second = steps[-1]
        return (matrix * first).sum() + second

    theta = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    alpha = torch.rand(4, 3, dtype=torch.double, requires_grad=True)
    scalars = [leaf(0.4)[0].detach().requires_grad_(), leaf(0.2)[0].detach().requires_grad_()]
    assert torch.autograd.gradcheck(end, (theta, scalars[0], alpha, scalars[1]))
