"""The exact engine with the graph of one step in memory: stores the weights, then differentiates step by step."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from rtp.errors import UserError
from rtp.modules.unroll.base import Episode, RealImages, Unroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer
from rtp.modules.unroll.step.functions import Precision, StepFunctions, step_functions
from rtp.modules.unroll.trajectory import Trajectory, fits, free_memory
from rtp.modules.unroll.window import Window
from rtp.utils.checks import check_at_least

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepwiseUnroll(Unroll):
    """Exact back-propagation through time with the graph of one step at a time.

    Runs the loop without a graph and stores theta_0, ..., theta_{T-1}; then starts from theta_bar = dJ / dtheta_T and
    m_bar = 0 and goes through t = T, ..., 1. For SGD with momentum:

        m_bar -= alpha theta_bar;  (theta_bar, x_bar_t) += (H_t m_bar, M_t m_bar);  m_bar *= beta

    where H_t and M_t are second derivatives of the loss at (theta_{t-1}, x_t); one pass computes both products.
    The gradient equals `HigherUnroll`'s up to rounding. Memory: one step and T times the weights.

    Networks with running statistics (BatchNorm) or random layers (dropout) are not supported: their loss depends on
    more than weights and images.

    Args:
        num_steps: Inner steps T, at least 1 and the window's size.
        window: The differentiated steps; null for all.
        compile: Whether to compile the functions of a step: about a minute at a run's first step, less with a cache.
        precision: Factors of convolutions and linear layers: "fp32" as they are, which a GPU may round to TF32 if the
            process lets it (`--tf32`), "bf16" rounded to 7 bits of mantissa. Weights, norms, losses and sums stay
            float32.
        activation_cache_gb: Memory, at least 0, for the activations of the last steps (0.09 GB each for ConvNet-128 and
            100 images of 32x32). The backward pass reuses them, which saves a fifth of a step.

    Raises:
        UserError: If an argument is out of its range.
    """

    num_steps: int
    window: Window | None = None
    compile: bool = True
    precision: Precision = "fp32"
    activation_cache_gb: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("num_steps", self.num_steps, 1)
        if self.window is not None and self.window.size > self.num_steps:
            raise UserError(
                f"a window of {self.window.size} steps does not fit into num_steps={self.num_steps}: "
                f"use a size <= {self.num_steps} or more steps"
            )
        if self.precision not in get_args(Precision):
            hint = ": TF32 is a setting of the whole process, --tf32 true" if str(self.precision) == "tf32" else ""
            raise UserError(f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}{hint}")
        check_at_least("activation_cache_gb", self.activation_cache_gb, 0)

    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """See `Unroll.meta_loss`.

        Raises:
            UserError: If the network has buffers or draws random numbers.
        """
        functions = self._functions(network, episode.images.detach())
        theta_0 = nn.utils.parameters_to_vector(network.parameters()).detach()
        solve = partial(self._solve, functions, optimizer, theta_0, episode)
        return _Solved.apply(episode.images, episode.rate_factor, solve)

    @torch.no_grad()
    def _solve(
        self, functions: StepFunctions, optimizer: InnerOptimizer, theta_0: Tensor, episode: Episode
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """J, dJ / dimages and, if there is a rate factor f, dJ / df."""
        images, factor = episode.images.detach(), episode.rate_factor
        end = self.num_steps if self.window is None else self.window.end(self.num_steps)
        first = 1 if self.window is None else end - self.window.size + 1

        theta, state = theta_0, optimizer.initial_state(theta_0)
        trajectory: Trajectory | None = None
        saved: dict[int, tuple[Tensor, ...]] = {}  # activations by step
        first_saved = max(first, end + 1 - self._steps_saved(functions, theta, episode))
        for t in range(1, end + 1):
            batch = episode.minibatches[t - 1]
            if t >= first_saved:
                gradient, saved[t] = functions.keeping.gradient(theta, images[batch], episode.labels[batch])
            else:
                gradient = functions.gradient(theta, images[batch], episode.labels[batch])
            before = theta
            if factor is not None:
                gradient = factor * gradient
            theta, state, residuals = optimizer.step(t, theta, state, gradient)
            if factor is not None:
                residuals = *residuals, gradient
            if t >= first:
                if trajectory is None:
                    trajectory = self._trajectory(theta, end - first + 1, 1 + len(residuals))
                trajectory.push(before, residuals)
        assert trajectory is not None  # a window has at least one step

        if isinstance(episode.objective, RealImages):
            theta_bar, loss = outer_loss_and_grad(functions, theta, episode.objective, episode.minibatches.shape[1])
        else:
            theta_bar, loss = grad_and_value(episode.objective)(theta)
        state_bar = tuple(torch.zeros_like(moment) for moment in state)
        images_bar = torch.zeros_like(images)
        factor_bar = None if factor is None else torch.zeros_like(factor)
        for t in range(end, first - 1, -1):
            batch = episode.minibatches[t - 1]
            theta, residuals = trajectory.pop()
            own = residuals if factor is None else residuals[:-1]
            gradient_bar, state_bar = optimizer.adjoint(t, theta_bar, state_bar, own)
            if factor is not None and factor_bar is not None:  # the rule saw f g, the last residual
                factor_bar += gradient_bar @ residuals[-1] / factor
                gradient_bar = factor * gradient_bar
            arguments = theta, gradient_bar, images[batch], episode.labels[batch]
            if t in saved:
                through_theta, through_images = functions.keeping.hessian_vector_products(*arguments, saved.pop(t))
            else:
                through_theta, through_images = functions.hessian_vector_products(*arguments)
            theta_bar = theta_bar + through_theta
            images_bar.index_add_(0, batch, through_images)
        return loss, images_bar, factor_bar

    def _functions(self, network: nn.Module, images: Tensor) -> StepFunctions:
        if list(network.buffers()):
            raise UserError(
                f"StepwiseUnroll does not support {type(network).__name__}, whose buffers change while it is trained: "
                "use InstanceNorm in place of BatchNorm, or HigherUnroll"
            )
        if draws_random_numbers(network, images[:1]):  # the backward pass repeats a step and would draw other ones
            raise UserError(
                f"StepwiseUnroll does not support {type(network).__name__}, which draws random numbers: leave dropout "
                "out, or use HigherUnroll"
            )
        return step_functions(network, self.precision, self.compile)

    def _steps_saved(self, functions: StepFunctions, theta: Tensor, episode: Episode) -> int:
        if self.activation_cache_gb == 0:
            return 0
        batch = episode.minibatches[0]
        one = functions.keeping.num_bytes(theta, episode.images.detach()[batch], episode.labels[batch])
        return int(1e9 * self.activation_cache_gb // one)

    def _trajectory(self, theta: Tensor, steps: int, tensors_per_step: int) -> Trajectory:
        on_host = theta.is_cuda and not fits(steps, tensors_per_step, theta, free_memory(theta.device))
        if on_host:
            size = steps * tensors_per_step * theta.nbytes / 1e9
            _log_once(f"the weights of {steps} steps ({size:.1f} GB) are kept in the host's memory: no room on the GPU")
        return Trajectory(on_host)


@torch.no_grad()
def draws_random_numbers(network: nn.Module, images: Tensor) -> bool:
    """Whether a forward pass draws random numbers; restores the generators' states."""
    state = partial(torch.cuda.get_rng_state, images.device) if images.is_cuda else torch.get_rng_state
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        before = state()
        network(images)
        return not torch.equal(before, state())


_log_once = cache(log.info)


def outer_loss_and_grad(functions: StepFunctions, theta: Tensor, real: RealImages, most: int) -> tuple[Tensor, Tensor]:
    """(dJ / dtheta_T (P,), J), over chunks of the real images, which may outnumber an inner minibatch (640)."""
    size = part_size(len(real.labels), most)
    theta_bar, loss = torch.zeros_like(theta), theta.new_zeros(())
    parts = list(zip(real.images.split(size), real.labels.split(size), strict=True))
    for images, labels in parts:
        gradient, part = functions.outer_loss_and_grad(theta, images, labels)
        theta_bar += gradient / len(parts)
        loss += part / len(parts)
    return theta_bar, loss


def part_size(num: int, most: int) -> int:
    """Size of equal chunks of `num` images, for one compiled function: the largest divisor of `num` up to `most`.

    `num` itself if that divisor is below half of `most`.
    """
    divisor = max(size for size in range(1, min(num, most) + 1) if num % size == 0)
    return divisor if 2 * divisor >= most else num


class _Solved(torch.autograd.Function):
    """The inner loop as one operation that computes its gradient together with its value."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, factor: Tensor | None, solve: Callable[[], tuple[Tensor, Tensor, Tensor | None]]
    ) -> Tensor:
        loss, images_bar, factor_bar = solve()
        ctx.save_for_backward(images_bar, factor_bar)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        images_bar, factor_bar = ctx.saved_tensors
        return upstream[0] * images_bar, None if factor_bar is None else upstream[0] * factor_bar, None
