"""Own forms of layers against PyTorch's, up to their third derivatives."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.modules import twice_differentiable as own
from rtp.modules.twice_differentiable import TwiceDifferentiable

GEOMETRIES = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": (1, 2)},
    {"dilation": 2, "padding": 2},
    {"groups": 2, "stride": (2, 1)},
    {"padding": "same"},
]


def derivatives(convolution: Any, geometry: dict[str, Any], channels_last: bool) -> list[Tensor]:
    """The result of a convolution and mixed derivatives of first, second and third order."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(3, 4, 7, 6, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(2, 4 // geometry.get("groups", 1), 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    values = [convolution(images, weight, bias, **geometry)]
    for _ in range(3):
        slopes = torch.autograd.grad(values[-1].pow(2).sum(), (images, weight, bias), create_graph=True)
        values += [slopes[2], slopes[1] * slopes[0].mean()]  # the last mixes the images' and the weight's
    return values


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_convolution_is_pytorchs_to_the_third_derivative(geometry: dict[str, Any], channels_last: bool) -> None:
    expected = derivatives(F.conv2d, geometry, channels_last)
    for value, reference in zip(derivatives(own.conv2d, geometry, channels_last), expected, strict=True):
        assert (value - reference).norm() <= 1e-12 * reference.norm()


@pytest.mark.parametrize(
    "arguments", [(2,), ((2, 3),), (2, 2), (3, 2), (4,), (3, 3, 1)], ids=["2", "2x3", "2/2", "3/2", "ragged", "padded"]
)
def test_average_pooling_is_pytorchs(arguments: tuple[Any, ...]) -> None:
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(own.avg_pool2d(images, *arguments), F.avg_pool2d(images, *arguments))


def test_networks_are_redirected_and_rounded_where_it_is_asked_for() -> None:
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.AvgPool2d(2), torch.nn.Flatten())
    head = torch.nn.Linear(2, 2)
    images = torch.randn(3, 1, 4, 4)
    plain = head(layers(images))
    with TwiceDifferentiable():
        assert "_Convolution" in str(layers[0](images).grad_fn)
        torch.testing.assert_close(head(layers(images)), plain)
    with TwiceDifferentiable(torch.bfloat16):
        rounded = head(layers(images))
    assert rounded.dtype == torch.float32
    error = float((rounded - plain).detach().norm() / plain.detach().norm())
    assert 1e-5 < error < 2**-5  # bfloat16 keeps 8 significant bits
