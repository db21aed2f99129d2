"""Optimizers of the inner loop: pure steps with their adjoints; `rtp.modules.unroll.higher` converts them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.utils.checks import check_in, check_positive

MomentumMode = Literal["none", "forward_only", "full"]
State = tuple[Tensor, ...]
"""Moments of the gradient, each (P,)."""


class InnerOptimizer(ABC):
    """An update rule of the inner loop, independent of how the loop is differentiated."""

    @abstractmethod
    def initial_state(self, theta: Tensor) -> State:
        """The state before the first step, for weights theta (P,)."""

    @abstractmethod
    def step(self, t: int, theta: Tensor, state: State, gradient: Tensor) -> tuple[Tensor, State, State]:
        """Update theta_{t-1} (P,) in step t = 1, 2, ... with the gradient g_t (P,) and the state after step t - 1.

        Returns:
            theta_t, the state after step t, and the residuals that `adjoint` needs.
        """

    @abstractmethod
    def adjoint(self, t: int, theta_bar: Tensor, state_bar: State, residuals: State) -> tuple[Tensor, State]:
        """Back-propagate the meta-loss J through step t; dJ / dtheta_{t-1} through this rule is dJ / dtheta_t.

        Maps theta_bar = dJ / dtheta_t (P,) and state_bar = dJ / d(state after step t), with the residuals of `step`, to
        dJ / dg_t and dJ / d(state after step t - 1).
        """


@dataclass(frozen=True)
class InnerSGD(InnerOptimizer):
    """Stochastic gradient descent with momentum, lines 11 and 12 of algorithm 1.

    m_t = beta m_{t-1} + g_t; theta_t = theta_{t-1} - alpha m_t.

    Args:
        learning_rate: alpha_0; the paper uses 0.01 (A.1).
        momentum: beta_0, in [0, 1); the paper uses 0.9.
        momentum_mode: Role of the momentum (table 8): "full" differentiates through it, "forward_only" takes m_{t-1}
            as a constant in the backward pass, "none" trains without it.

    Raises:
        UserError: If an argument is out of its range.
    """

    learning_rate: float = 0.01
    momentum: float = 0.9
    momentum_mode: MomentumMode = "full"

    def __post_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)
        check_in("momentum", self.momentum, "[0, 1)")

    def initial_state(self, theta: Tensor) -> State:
        """m_0 = 0, line 7."""
        return (torch.zeros_like(theta),)

    def step(self, t: int, theta: Tensor, state: State, gradient: Tensor) -> tuple[Tensor, State, State]:
        """See `InnerOptimizer.step`; a linear rule needs no residuals."""
        momentum = torch.add(gradient, state[0], alpha=self.carried)
        return torch.sub(theta, momentum, alpha=self.learning_rate), (momentum,), ()

    def adjoint(self, t: int, theta_bar: Tensor, state_bar: State, residuals: State) -> tuple[Tensor, State]:
        """See `InnerOptimizer.adjoint`."""
        momentum_bar = torch.sub(state_bar[0], theta_bar, alpha=self.learning_rate)
        differentiated = self.carried if self.momentum_mode == "full" else 0.0
        return momentum_bar, (momentum_bar * differentiated,)

    @property
    def carried(self) -> float:
        """Factor of m_{t-1} in m_t: beta_0, or 0 without momentum."""
        return 0.0 if self.momentum_mode == "none" else self.momentum


@dataclass(frozen=True)
class InnerAdam(InnerOptimizer):
    """Adam with epsilon inside the root, which is differentiable where a gradient is zero.

    m_t = beta_1 m_{t-1} + (1 - beta_1) g_t; v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2;
    theta_t = theta_{t-1} - alpha m^ / sqrt(v^ + eps) with m^ = m_t / (1 - beta_1^t) and v^ = v_t / (1 - beta_2^t).

    Kingma and Ba (ICLR 2015) add epsilon to the root, whose derivative at v = 0 is infinite.

    Args:
        learning_rate: alpha; the paper found that Adam "prefers smaller" rates "such as 1e-4" (B.1).
        betas: beta_1 and beta_2, each in [0, 1); Adam's usual values.
        eps: Positive; its root replaces Adam's usual 1e-8 and is larger, as it bounds the derivatives.

    Raises:
        UserError: If an argument is out of its range.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-12

    def __post_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas must lie in [0, 1), got {self.betas}")
        check_positive("eps", self.eps)

    def initial_state(self, theta: Tensor) -> State:
        """m_0 = v_0 = 0."""
        return torch.zeros_like(theta), torch.zeros_like(theta)

    def step(self, t: int, theta: Tensor, state: State, gradient: Tensor) -> tuple[Tensor, State, State]:
        """See `InnerOptimizer.step`."""
        beta_1, beta_2 = self.betas
        m = beta_1 * state[0] + (1 - beta_1) * gradient
        v = beta_2 * state[1] + (1 - beta_2) * gradient * gradient
        update = m / (1 - beta_1**t) / (v / (1 - beta_2**t) + self.eps).sqrt()
        return theta - self.learning_rate * update, (m, v), (m, v, gradient)

    def adjoint(self, t: int, theta_bar: Tensor, state_bar: State, residuals: State) -> tuple[Tensor, State]:
        """See `InnerOptimizer.adjoint`."""
        beta_1, beta_2 = self.betas
        m, v, gradient = residuals
        correction_1, correction_2 = 1 - beta_1**t, 1 - beta_2**t
        inverse_root = (v / correction_2 + self.eps).rsqrt()
        # d(m^ (v^ + eps)^(-1/2)): by m^ (v^ + eps)^(-1/2), by v^ -m^ (v^ + eps)^(-3/2) / 2
        m_bar = state_bar[0] - self.learning_rate * theta_bar * inverse_root / correction_1
        v_hat_bar = 0.5 * self.learning_rate * theta_bar * (m / correction_1) * inverse_root**3
        v_bar = state_bar[1] + v_hat_bar / correction_2
        gradient_bar = (1 - beta_1) * m_bar + 2 * (1 - beta_2) * gradient * v_bar
        return gradient_bar, (beta_1 * m_bar, beta_2 * v_bar)
