"""Optimizers of the inner loop: what one step of training on recalled images does to the weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from higher.optim import DifferentiableOptimizer, DifferentiableSGD
from torch import nn

from rtp.errors import UserError

MomentumMode = Literal["none", "forward_only", "full"]


class InnerOptimizer(ABC):
    """A rule for training a network on recalled images, cut apart from how the loop is differentiated."""

    @abstractmethod
    def differentiable(self, parameters: Iterable[nn.Parameter]) -> DifferentiableOptimizer:
        """The rule as one of `higher`'s differentiable optimizers.

        Args:
            parameters: The network's parameters; `step(loss, params=...)` takes and returns theirs in this order.
        """


@dataclass(frozen=True)
class InnerSGD(InnerOptimizer):
    """Stochastic gradient descent with momentum, lines 11 and 12 of algorithm 1.

    m_t = beta m_{t-1} + g_t; theta_t = theta_{t-1} - alpha m_t.

    Args:
        learning_rate: alpha_0; the paper uses 0.01 (A.1).
        momentum: beta_0, in [0, 1); the paper uses 0.9.
        momentum_mode: How the momentum takes part, table 8: "full" differentiates through it, "forward_only" uses
            it but takes m_{t-1} as a constant in the backward pass, "none" trains without it.

    Raises:
        UserError: If a value is out of its range.
    """

    learning_rate: float = 0.01
    momentum: float = 0.9
    momentum_mode: MomentumMode = "full"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum}")

    def differentiable(self, parameters: Iterable[nn.Parameter]) -> DifferentiableOptimizer:
        """See `InnerOptimizer.differentiable`."""
        momentum = 0.0 if self.momentum_mode == "none" else self.momentum
        parameters = list(parameters)
        plain = torch.optim.SGD(parameters, lr=self.learning_rate, momentum=momentum)
        kind = ForwardOnlyMomentumSGD if self.momentum_mode == "forward_only" else DifferentiableSGD
        return kind(plain, parameters)


class ForwardOnlyMomentumSGD(DifferentiableSGD):  # type: ignore[misc]  # higher has no types
    """`higher`'s SGD with the carried momentum detached.

    The gradient reaches m_t only through g_t, not through m_{t-1} ("blocks the gradients on the momentum term in
    the backward pass, except for the gradients on the current time step weights", B.1).
    """

    def _update(self, grouped_grads: list[list[torch.Tensor]], **kwargs: object) -> None:
        for group in self.state:
            for state in group.values():
                state["momentum_buffer"] = state["momentum_buffer"].detach()
        super()._update(grouped_grads, **kwargs)
