"""Functions of the weights that the stepwise engine calls at every step: a gradient and two second derivatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value
from torch.nn import functional as F

from rtp.modules.unroll.step.compilation import Compiler
from rtp.modules.unroll.step.saved_activations import SavedActivations
from rtp.modules.unroll.step.twice_differentiable import TwiceDifferentiable

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class StepFunctions:
    """Functions of (theta, ...) for one kind of network; images are (b, C, H, W), labels (b,), theta (P,).

    Attributes:
        gradient: (theta, images, labels) -> g, the gradient of the mean cross-entropy l, (P,).
        hessian_vector_products: (theta, direction, images, labels) -> (H direction (P,), M direction (b, C, H, W)) with
            H = d2l / dtheta2 and M = d2l / (dx dtheta).
        outer_loss_and_grad: (theta, images, labels) -> (dl / dtheta, l).
        keeping: The first two for steps whose activations are saved in between.
    """

    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]
    hessian_vector_products: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    outer_loss_and_grad: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    keeping: SavedActivations


_MADE: dict[tuple[Any, ...], StepFunctions] = {}
"""By architecture: a run's networks are all of one kind, and compilation takes long."""


def step_functions(network: nn.Module, precision: Precision = "fp32", compile: bool = False) -> StepFunctions:
    """The functions for a network's architecture, made once per process and compiled at their first call if asked.

    An architecture is the network's type, repr, and the numbers, strings and booleans among its modules' attributes,
    which a repr may omit. Networks that differ in anything else, such as a function, must be of different classes.
    The precision "bf16" rounds the inputs of convolutions and linear layers to bfloat16.
    """
    settings = tuple(
        (path, name, repr(value))
        for path, module in network.named_modules()
        for name, value in sorted(vars(module).items())
        if isinstance(value, (bool, int, float, str, type(None)))
    )
    key = type(network), repr(network), settings, precision, compile
    if key not in _MADE:
        _MADE[key] = _derived(network, precision, Compiler() if compile else None)
    return _MADE[key]


def _derived(network: nn.Module, precision: Precision, compiler: Compiler | None) -> StepFunctions:
    """Write a network's loss as a function of one flat vector of weights, and differentiate it."""
    names = [name for name, _ in network.named_parameters()]
    shapes = [parameter.shape for parameter in network.parameters()]
    sizes = [shape.numel() for shape in shapes]
    rounded_to = torch.bfloat16 if precision == "bf16" else None

    def loss(theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        parts = theta.split(sizes)
        weights = {name: _as_stored(part.view(shape)) for name, part, shape in zip(names, parts, shapes, strict=True)}
        with TwiceDifferentiable(rounded_to):
            return F.cross_entropy(functional_call(network, weights, (_as_stored(images),)), labels)

    def gradient(theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return grad(loss)(theta, images, labels)

    def outer_loss_and_grad(theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return grad_and_value(loss)(theta, images, labels)

    def joint(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # <dl/dtheta, v> has the derivatives H v and M v: one reverse pass over the gradient's own. On a CPU it took
        # 0.8 of the time of the other way, jvp of both gradients (docs/performance.md)
        def along(theta: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            gradient = grad(loss)(theta, images, labels)
            return torch.dot(gradient, direction), gradient

        (through_theta, through_images), gradient = grad(along, argnums=(0, 1), has_aux=True)(theta, images)
        return gradient, through_theta, through_images

    def hessian_vector_products(
        theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        return joint(theta, direction, images, labels)[1:]

    keeping = SavedActivations(joint, compiler)
    if compiler is None:
        return StepFunctions(gradient, hessian_vector_products, outer_loss_and_grad, keeping)
    return StepFunctions(compiler(gradient), compiler(hessian_vector_products), compiler(outer_loss_and_grad), keeping)


def _as_stored(tensor: Tensor) -> Tensor:
    """4-D tensors with channels last, along which a processor's vector instructions run.

    Of one channel both (H W, H W, W, 1) and (H W, 1, W, 1) are right strides; convolutions go by the second alone.
    """
    if tensor.dim() != 4:
        return tensor
    if tensor.shape[1] == 1:
        return tensor.squeeze(1).unsqueeze(3).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last)
