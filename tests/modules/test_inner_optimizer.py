"""The inner update rules, step by step against torch.optim."""

import re

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.inner_optimizer import InnerSGD, MomentumMode


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
    ours = InnerSGD(learning_rate=0.3, momentum=0.9, momentum_mode=mode).differentiable(network.parameters())

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
