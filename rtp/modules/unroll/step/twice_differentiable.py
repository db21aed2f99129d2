"""Layers whose second derivatives are cheaper, or keep more digits, than PyTorch's own, with the same results.

The gradient of a gradient is where the stepwise engine spends its time. PyTorch's own formulas for it turn a weight's
gradient into a convolution whose kernel is as large as the image, which is several times slower on a CPU than the form
here (docs/performance.md).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class TwiceDifferentiable(TorchFunctionMode):
    """Within it, `conv2d` and `group_norm` are those of this module, whatever network calls them.

    A call that they do not cover (padding by name, other than 4-D images, images by keyword) goes to PyTorch's own.

    Args:
        dtype: Type in which convolutions and linear layers compute, bfloat16 for instance; their inputs are rounded to
            it and their results returned in the inputs' type, so that norms and losses keep theirs. None: no rounding.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        own = _OWN.get(func)
        used = func if own is None or not args or args[0].dim() != 4 else own
        if self.dtype is None or func not in (torch.conv2d, F.linear):
            return used(*args, **kwargs)
        original = (args[0] if args else kwargs["input"]).dtype
        rounded = {name: self._rounded(value) for name, value in kwargs.items()}
        return used(*(self._rounded(value) for value in args), **rounded).to(original)

    def _rounded(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, Tensor) else value


def conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.conv2d`, all of whose derivatives, of any order, are the same three products of a convolution.

    With y = conv(x, w): <dx, y'> and <dw, y'> are bilinear again, so the derivatives of the input's gradient are
    a convolution and a weight's gradient, and those of the weight's gradient a convolution and an input's gradient.
    """
    if isinstance(padding, str):
        return torch.conv2d(images, weight, bias, stride, padding, dilation, groups)
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    return _Convolution.apply(images, weight, bias, geometry)


def group_norm(
    images: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`torch.nn.functional.group_norm` of (n, C, h, w), with sums that stay accurate with channels last.

    PyTorch's kernel for that layout takes the variance as E[x^2] - E[x]^2, and compiled sums run over all pixels one
    after the other; where a convolution's bias is large against what it sees, both lose digits that decide on which
    side of a ReLU a pixel falls. A mean over rows and then over the rest, and deviations from it, keep them.
    """
    grouped = images.unflatten(1, (num_groups, -1))  # (n, g, c / g, h, w)
    deviation = grouped - grouped.mean(4, keepdim=True).mean((2, 3), keepdim=True)
    scale = ((deviation * deviation).mean((2, 3, 4), keepdim=True) + eps).rsqrt()
    normal = (deviation * scale).flatten(1, 2)
    if weight is not None:
        normal = normal * weight[:, None, None]
    return normal if bias is None else normal + bias[:, None, None]


_OWN: dict[Callable[..., Any], Callable[..., Tensor]] = {torch.conv2d: conv2d, F.group_norm: group_norm}


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


Geometry = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation, groups."""


class _Product(torch.autograd.Function):
    """One of the three products in which image, weight and result take part: two are given, the third is computed."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.geometry = inputs[-1]


class _Convolution(_Product):
    """y = conv(x, w) + b."""

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        stride, padding, dilation, groups = geometry
        return torch.ops.aten.convolution(images, weight, bias, stride, padding, dilation, False, (0, 0), groups)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        for_images, for_weight, for_bias, _ = ctx.needs_input_grad
        return (
            _ImageGradient.apply(upstream[0], weight, images.shape, ctx.geometry) if for_images else None,
            _WeightGradient.apply(upstream[0], images, weight.shape, ctx.geometry) if for_weight else None,
            upstream[0].sum((0, 2, 3)) if for_bias else None,
            None,
        )


class _ImageGradient(_Product):
    """dx of <y', conv(x, w)>: linear in y' and in w."""

    @staticmethod
    def forward(upstream: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        return _convolution_backward(upstream, upstream.new_empty(shape), weight, geometry, 0)

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> tuple[Tensor, Tensor, None, None]:
        upstream, weight = ctx.saved_tensors
        return (
            _Convolution.apply(direction[0], weight, None, ctx.geometry),
            _WeightGradient.apply(upstream, direction[0], weight.shape, ctx.geometry),
            None,
            None,
        )


class _WeightGradient(_Product):
    """dw of <y', conv(x, w)>: linear in y' and in x."""

    @staticmethod
    def forward(upstream: Tensor, images: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        return _convolution_backward(upstream, images, images.new_empty(shape), geometry, 1)

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> tuple[Tensor, Tensor, None, None]:
        upstream, images = ctx.saved_tensors
        return (
            _Convolution.apply(images, direction[0], None, ctx.geometry),
            _ImageGradient.apply(upstream, direction[0], images.shape, ctx.geometry),
            None,
            None,
        )


def _convolution_backward(upstream: Tensor, images: Tensor, weight: Tensor, geometry: Geometry, which: int) -> Tensor:
    """The gradient of the images (0) or of the weight (1), whose own argument gives its shape alone."""
    stride, padding, dilation, groups = geometry
    wanted = [which == 0, which == 1, False]
    gradients = torch.ops.aten.convolution_backward(
        upstream, images, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
    )
    return gradients[which]
