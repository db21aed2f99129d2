"""Layers with PyTorch's results, and second derivatives that are cheaper or more accurate.

The stepwise engine spends its time on the gradient of a gradient. PyTorch's formulas for it turn a weight's gradient
into a convolution with a kernel as large as the image, several times slower on a CPU (docs/performance.md).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class TwiceDifferentiable(TorchFunctionMode):
    """Within it, `conv2d` and `group_norm` are those of this module, in any network.

    Calls that they do not cover (padding by name, images not 4-D or by keyword) go to PyTorch's own.

    Args:
        dtype: Type in which convolutions and linear layers compute, such as bfloat16: their inputs are rounded to it
            and their results returned in the inputs' type, so norms and losses keep theirs. None: no rounding.
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
    """`torch.conv2d`, whose derivatives of any order are the same three products of a convolution.

    With y = conv(x, w), both gradients of <y, y'> are bilinear again: the derivatives of the input's gradient are a
    convolution and a weight's gradient, those of the weight's gradient a convolution and an input's gradient.
    """
    if isinstance(padding, str):
        return torch.conv2d(images, weight, bias, stride, padding, dilation, groups)
    geometry = (_pair(stride), _pair(padding), _pair(dilation), False, (0, 0), groups)
    return _Convolution.apply(images, weight, bias, geometry)


def group_norm(
    images: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`torch.nn.functional.group_norm` of (n, C, h, w), with sums that stay accurate with channels last.

    PyTorch's kernel for that layout computes the variance as E[x^2] - E[x]^2, and compiled sums run over all pixels in
    sequence; where a convolution's bias is large against its input, both lose digits that decide on which side of a
    ReLU a pixel falls. A mean over rows, then over the rest, and deviations from it keep them.
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


Geometry = tuple[Pair, Pair, Pair, bool, Pair, int]
"""Stride, padding, dilation, transposed (False), output padding (0, 0), groups: as ATen takes them."""


class _Product(torch.autograd.Function):
    """One of the three products of image, weight and result: from two of them, computes the third."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.geometry = inputs[-1]


class _Convolution(_Product):
    """y = conv(x, w) + b."""

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        return torch.ops.aten.convolution(images, weight, bias, *geometry)

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
        images = upstream.new_empty(shape)  # only its shape matters
        mask = [True, False, False]
        return torch.ops.aten.convolution_backward(upstream, images, weight, None, *geometry, mask)[0]

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> tuple[Tensor, Tensor, None, None]:
        upstream, weight = ctx.saved_tensors
        upstream_bar = _Convolution.apply(direction[0], weight, None, ctx.geometry)
        return upstream_bar, _WeightGradient.apply(upstream, direction[0], weight.shape, ctx.geometry), None, None


class _WeightGradient(_Product):
    """dw of <y', conv(x, w)>: linear in y' and in x."""

    @staticmethod
    def forward(upstream: Tensor, images: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        weight = images.new_empty(shape)  # only its shape matters
        mask = [False, True, False]
        return torch.ops.aten.convolution_backward(upstream, images, weight, None, *geometry, mask)[1]

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> tuple[Tensor, Tensor, None, None]:
        upstream, images = ctx.saved_tensors
        upstream_bar = _Convolution.apply(images, direction[0], None, ctx.geometry)
        return upstream_bar, _ImageGradient.apply(upstream, direction[0], images.shape, ctx.geometry), None, None
