"""La-MAML's look ahead against derivatives worked out by hand and by finite differences."""

import pytest
import torch
from torch import Tensor

from rtp.modules.continual.look_ahead import Loss, Weights, look_ahead


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
    slope = -a * (theta - m) * (1 - alpha * b) - b * (first - n)
    torch.testing.assert_close(for_alpha, outer * slope)


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


def test_negative_rates_stand_still(bowls: tuple[Tensor, Tensor]) -> None:
    (a, _), (m, _) = bowls
    theta, alpha = leaf(0.3, -1.0, 2.0), leaf(-0.5, 0.1, -0.2)
    [(result,)] = look_ahead([theta], [alpha], [quadratic(a, m)], second_order=False)
    assert (result == theta).tolist() == [True, False, True]


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
