"""The reference engine: `higher` differentiates the inner loop, with its whole graph in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

import torch
from higher.optim import DifferentiableOptimizer, DifferentiableSGD
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.modules.unroll.base import Episode, RealImages, Unroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.utils.checks import check_at_least


@dataclass(frozen=True)
class HigherUnroll(Unroll):
    """The reference engine for short loops: back-propagation through the whole graph, kept by `higher`.

    Takes about 0.6 GB per step for ConvNet-128 and 100 images of 32x32.

    Args:
        num_steps: Inner steps T, at least 1.

    Raises:
        UserError: If `num_steps` is below 1.
    """

    num_steps: int

    def __post_init__(self) -> None:
        check_at_least("num_steps", self.num_steps, 1)

    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """See `Unroll.meta_loss`."""
        names, theta_0 = zip(*network.named_parameters(), strict=True)
        inner = differentiable(optimizer, theta_0)
        theta = theta_0

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            # higher's own patching refuses networks with an abstract base
            return F.cross_entropy(functional_call(network, dict(zip(names, theta, strict=True)), (images,)), labels)

        for batch in episode.minibatches:
            inner_loss = loss(episode.images[batch], episode.labels[batch])
            scaled = inner_loss if episode.rate_factor is None else episode.rate_factor * inner_loss
            theta = inner.step(scaled, params=theta)
        if isinstance(episode.objective, RealImages):
            return loss(episode.objective.images, episode.objective.labels)
        return episode.objective(nn.utils.parameters_to_vector(theta))


@singledispatch
def differentiable(rule: InnerOptimizer, parameters: Iterable[nn.Parameter]) -> DifferentiableOptimizer:
    """Convert an inner optimizer to `higher`; its `step(loss, params=...)` keeps the order of `parameters`."""
    parameters = list(parameters)
    return _RuleOptimizer(torch.optim.SGD(parameters), parameters, rule)


@differentiable.register
def _(rule: InnerSGD, parameters: Iterable[nn.Parameter]) -> DifferentiableOptimizer:
    parameters = list(parameters)
    plain = torch.optim.SGD(parameters, lr=rule.learning_rate, momentum=rule.carried)
    kind = ForwardOnlyMomentumSGD if rule.momentum_mode == "forward_only" else DifferentiableSGD
    return kind(plain, parameters)


class ForwardOnlyMomentumSGD(DifferentiableSGD):  # type: ignore[misc]  # higher has no types
    """`higher`'s SGD with m_{t-1} detached: gradients reach m_t only through g_t (B.1)."""

    def _update(self, grouped_grads: list[list[Tensor]], **kwargs: object) -> None:
        for group in self.state:
            for state in group.values():
                state["momentum_buffer"] = state["momentum_buffer"].detach()
        super()._update(grouped_grads, **kwargs)


class _RuleOptimizer(DifferentiableOptimizer):  # type: ignore[misc]  # higher has no types
    """`InnerOptimizer.step` within `higher`, needed for Adam: `higher`'s own adds epsilon outside the root."""

    def __init__(self, plain: torch.optim.Optimizer, parameters: list[nn.Parameter], rule: InnerOptimizer) -> None:
        super().__init__(plain, parameters)
        self._rule = rule
        self._t = 0

    def _update(self, grouped_grads: list[list[Tensor]], **kwargs: object) -> None:
        self._t += 1
        (group,), (gradients,), (states,) = self.param_groups, grouped_grads, self.state
        for place, gradient in enumerate(gradients):
            theta = group["params"][place]
            state = states[place].get("moments") or self._rule.initial_state(theta)
            group["params"][place], states[place]["moments"], _ = self._rule.step(self._t, theta, state, gradient)
