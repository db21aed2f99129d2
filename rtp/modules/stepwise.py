"""The exact engine that keeps one step in memory: store the weights, then walk back through the steps."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.inner_optimizer import InnerOptimizer, State
from rtp.modules.unroll import Episode, Unroll
from rtp.modules.window import Window

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepFunctions:
    """The two functions of (theta, ...) that the engine calls at every step, for one kind of network.

    Attributes:
        gradient: (theta, images, labels) -> g, the gradient of the mean cross-entropy, (P,).
        second_order: (theta, direction, images, labels) -> (H direction (P,), M direction (b, C, H, W)) with
            H = d2l / dtheta2 and M = d2l / (dx dtheta).
        judge: (theta, images, labels) -> (dl / dtheta, l).
    """

    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]
    second_order: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    judge: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def step_functions(network: nn.Module) -> StepFunctions:
    """Write a network's loss as a function of one flat vector of weights, and derive it.

    Args:
        network: Its architecture alone is used.
    """
    names = [name for name, _ in network.named_parameters()]
    shapes = [parameter.shape for parameter in network.parameters()]
    sizes = [shape.numel() for shape in shapes]

    def loss(theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        parts = theta.split(sizes)
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(functional_call(network, weights, (images,)), labels)

    def gradient(theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return grad(loss)(theta, images, labels)

    def second_order(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # <dl/dtheta, v> has the derivatives H v and M v: one reverse pass over the gradient's own. On a CPU it took
        # 0.8 of the time of the other way, jvp of both gradients (docs/log.md)
        def along(theta: Tensor, images: Tensor) -> Tensor:
            return torch.dot(grad(loss)(theta, images, labels), direction)

        return grad(along, argnums=(0, 1))(theta, images)

    def judge(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return grad_and_value(loss)(theta, images, labels)

    return StepFunctions(gradient, second_order, judge)


@dataclass(frozen=True)
class StepwiseUnroll(Unroll):
    """Exact back-propagation through time that never holds the graph of more than one step.

    Runs the loop without a graph and stores theta_0, ..., theta_{T-1}; then, with theta_bar = dJ / dtheta_T and
    m_bar = 0, walks back for t = T, ..., 1. For SGD with momentum:

        m_bar -= alpha theta_bar;  (theta_bar, x_bar_t) += (H_t m_bar, M_t m_bar);  m_bar *= beta

    where H_t and M_t are second derivatives of the loss at (theta_{t-1}, x_t), and both products come from one pass.
    The gradient is `HigherUnroll`'s to rounding. Memory is that of one step and T times the weights.

    Networks with running statistics (BatchNorm) are not supported: their loss is no function of the weights alone.

    Args:
        num_steps: Inner steps T, at least 1.
        window: Which steps are differentiated; null for all of them.
        compile: Whether the functions of a step are compiled. It takes about two minutes at the first step of a run,
            seconds where it has been done before.

    Raises:
        UserError: If `num_steps` is below 1 or less than the window's size.
    """

    num_steps: int
    window: Window | None = None
    compile: bool = True
    _cache: dict[str, StepFunctions] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_steps < 1:
            raise UserError(f"num_steps must be at least 1, got {self.num_steps}")
        if self.window is not None and self.window.size > self.num_steps:
            raise UserError(
                f"a window of {self.window.size} steps does not fit into num_steps={self.num_steps}: "
                f"use a size <= {self.num_steps} or more steps"
            )

    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """See `Unroll.meta_loss`."""
        functions = self._functions(network)
        theta_0 = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        loss: Tensor = _Solved.apply(episode.images, lambda: self._solve(functions, optimizer, theta_0, episode))
        return loss

    @torch.no_grad()
    def _solve(
        self, functions: StepFunctions, optimizer: InnerOptimizer, theta_0: Tensor, episode: Episode
    ) -> tuple[Tensor, Tensor]:
        """J and dJ / dimages."""
        images = episode.images.detach()
        end = self.num_steps if self.window is None else self.window.end(self.num_steps)
        first = 1 if self.window is None else end - self.window.size + 1

        theta, state = theta_0, optimizer.initial_state(theta_0)
        trajectory: list[tuple[Tensor, State]] = []  # theta_{t-1} and what the adjoint of step t needs
        for t in range(1, end + 1):
            batch = episode.minibatches[t - 1]
            gradient = functions.gradient(theta, images[batch], episode.labels[batch])
            before = theta
            theta, state, known = optimizer.step(t, theta, state, gradient)
            if t >= first:
                trajectory.append((before, known))

        theta_bar, loss = functions.judge(theta, episode.real_images, episode.real_labels)
        state_bar = tuple(torch.zeros_like(moment) for moment in state)
        images_bar = torch.zeros_like(images)
        for t in range(end, first - 1, -1):
            batch = episode.minibatches[t - 1]
            theta, known = trajectory.pop()
            gradient_bar, state_bar = optimizer.adjoint(t, theta_bar, state_bar, known)
            through_theta, through_images = functions.second_order(
                theta, gradient_bar, images[batch], episode.labels[batch]
            )
            theta_bar = theta_bar + through_theta
            images_bar.index_add_(0, batch, through_images)
        return loss, images_bar

    def _functions(self, network: nn.Module) -> StepFunctions:
        """The functions of a network's architecture: each network of a run is a new one of the same kind."""
        if any(True for _ in network.buffers()):
            raise UserError(
                f"StepwiseUnroll does not support {type(network).__name__}, whose buffers change while it is trained: "
                "use InstanceNorm in place of BatchNorm, or HigherUnroll"
            )
        key = repr(network)
        if key not in self._cache:
            functions = step_functions(network)
            self._cache[key] = compiled(functions) if self.compile else functions
        return self._cache[key]


class _Solved(torch.autograd.Function):
    """The whole inner loop as one operation, whose gradient was computed together with its value."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, solve: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
        loss, images_bar = solve()
        ctx.save_for_backward(images_bar)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (images_bar,) = ctx.saved_tensors
        return upstream[0] * images_bar, None


def compiled(functions: StepFunctions) -> StepFunctions:
    """Compile the functions of a step, for the shapes they are first called with.

    Transforms of torch.func stay inside and no graph crosses the boundary, so nothing is differentiated through
    compiled code, which torch.compile refuses.
    """
    return StepFunctions(
        gradient=_compiled_or_eager(functions.gradient),
        second_order=_compiled_or_eager(functions.second_order),
        judge=_compiled_or_eager(functions.judge),
    )


def _compiled_or_eager(function: Callable[..., Any]) -> Callable[..., Any]:
    chosen = torch.compile(function, dynamic=False)
    started = False

    def call(*arguments: Tensor) -> Any:
        nonlocal chosen, started
        if started:
            return chosen(*arguments)
        begin = time.perf_counter()
        try:
            result = chosen(*arguments)
            log.info("compiled %s of a step in %.0f s", function.__name__, time.perf_counter() - begin)
        except Exception as error:  # whatever a missing or broken compiler makes torch.compile raise
            log.warning("not compiled, so slower: %s", str(error).strip().splitlines()[0])
            chosen = function
            result = function(*arguments)
        started = True
        return result

    return call
