"""The inner update rules, step by step against torch.optim."""

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.unroll.higher import differentiable
from rtp.modules.unroll.inner_optimizer import InnerAdam, InnerOptimizer, InnerSGD, MomentumMode


@pytest.mark.parametrize(("mode", "momentum"), [("none", 0.0), ("forward_only", 0.9), ("full", 0.9)])
def test_differentiable_sgd_equals_torch_sgd_step_by_step(mode: MomentumMode, momentum: float) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 16, dtype=torch.float64), torch.randint(4, (6, 3))
    network = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    reference = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    reference.load_state_dict(network.state_dict())
    torch_sgd = torch.optim.SGD(reference.parameters(), lr=0.3, momentum=momentum)
    names = [name for name, _ in network.named_parameters()]
    theta: list[torch.Tensor] = list(network.parameters())
    ours = differentiable(InnerSGD(learning_rate=0.3, momentum=0.9, momentum_mode=mode), network.parameters())

    for batch, answers in zip(images, labels, strict=True):
        weights = dict(zip(names, theta, strict=True))
        theta = ours.step(F.cross_entropy(functional_call(network, weights, (batch,)), answers), params=theta)
        torch_sgd.zero_grad()
        F.cross_entropy(reference(batch), answers).backward()
        torch_sgd.step()
        for fast, expected in zip(theta, reference.parameters(), strict=True):
            torch.testing.assert_close(fast, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"momentum": 1.0}, "momentum must lie in [0, 1), got 1.0"),
        ({"momentum": -0.1}, "momentum must lie in [0, 1), got -0.1"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        InnerSGD(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"betas": (0.9, 1.0)}, "betas must lie in [0, 1), got (0.9, 1.0)"),
        ({"eps": 0.0}, "eps must be positive, got 0.0"),
    ],
)
def test_adams_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        InnerAdam(**arguments)


@pytest.mark.parametrize(
    "rule", [InnerSGD(0.3, 0.9, "none"), InnerSGD(0.3, 0.9), InnerAdam(0.1, (0.8, 0.95), 1e-3)], ids=str
)
def test_the_adjoint_is_the_transposed_derivative_of_the_step(rule: InnerOptimizer) -> None:
    torch.manual_seed(0)
    theta, gradient, theta_bar = torch.randn(3, 5, dtype=torch.float64)
    state = tuple(torch.rand_like(moment) for moment in rule.initial_state(theta))
    state_bar = tuple(torch.randn_like(moment) for moment in state)
    inputs = [gradient, *state]

    def outputs(gradient: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        new, moments, _ = rule.step(3, theta, state, gradient)
        return new, *moments

    pull_back = torch.func.vjp(outputs, *inputs)[1]
    expected = pull_back((theta_bar, *state_bar))
    gradient_bar, before = rule.adjoint(3, theta_bar, state_bar, rule.step(3, theta, state, gradient)[2])
    for ours, reference in zip((gradient_bar, *before), expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-14)


def test_forward_only_carries_the_momentum_but_not_its_derivative() -> None:
    bar = torch.ones(2, dtype=torch.float64)
    rule = InnerSGD(0.5, 0.9, "forward_only")
    assert rule.step(2, bar, (bar,), bar)[1][0].tolist() == [1.9, 1.9]
    gradient_bar, (momentum_bar,) = rule.adjoint(2, bar, (bar,), ())
    assert gradient_bar.tolist() == [0.5, 0.5]
    assert momentum_bar.tolist() == [0.0, 0.0]


def test_adam_is_torchs_where_epsilon_does_not_matter() -> None:
    torch.manual_seed(0)
    rule = InnerAdam(0.1, (0.8, 0.95), eps=1e-30)
    parameter = torch.nn.Parameter(torch.randn(4, dtype=torch.float64))
    torch_adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.8, 0.95), eps=0)
    theta = parameter.detach().clone()
    state = rule.initial_state(theta)
    for t in range(1, 6):
        gradient = torch.randn(4, dtype=torch.float64)
        parameter.grad = gradient.clone()
        torch_adam.step()
        theta, state, _ = rule.step(t, theta, state, gradient)
        torch.testing.assert_close(theta, parameter.detach(), rtol=1e-12, atol=0)
