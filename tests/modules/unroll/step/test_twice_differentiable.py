"""Own forms of layers against PyTorch's, up to their third derivatives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.modules.unroll.step import twice_differentiable as own
from rtp.modules.unroll.step.twice_differentiable import TwiceDifferentiable

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
        gradients = torch.autograd.grad(values[-1].pow(2).sum(), (images, weight, bias), create_graph=True)
        values += [gradients[2], gradients[1] * gradients[0].mean()]  # the last mixes the images' and the weight's
    return values


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_convolution_is_pytorchs_to_the_third_derivative(geometry: dict[str, Any], channels_last: bool) -> None:
    expected = derivatives(F.conv2d, geometry, channels_last)
    for value, reference in zip(derivatives(own.conv2d, geometry, channels_last), expected, strict=True):
        assert (value - reference).norm() <= 1e-12 * reference.norm()


@pytest.mark.parametrize("num_groups", [1, 2, 4])
@pytest.mark.parametrize("affine", [False, True])
def test_group_norm_is_pytorchs_to_the_second_derivative(num_groups: int, affine: bool) -> None:
    def derivatives(norm: Any) -> list[Tensor]:
        torch.manual_seed(0)
        images = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
        scale, shift = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
        value = norm(images, num_groups, *((scale, shift) if affine else ()), eps=0.1)
        (gradient,) = torch.autograd.grad(value.pow(3).sum(), images, create_graph=True)
        return [value, gradient, torch.autograd.grad(gradient.pow(2).sum(), images)[0]]

    for value, reference in zip(derivatives(own.group_norm), derivatives(F.group_norm), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_any_way_to_call_a_layer_is_served(dtype: torch.dtype | None) -> None:
    torch.manual_seed(0)
    images, weight, matrix = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(6, 5)
    calls: list[Callable[[], Tensor]] = [
        lambda: F.conv2d(images, weight),
        lambda: F.conv2d(input=images, weight=weight, padding=1),
        lambda: F.conv2d(images[0], weight),
        lambda: F.conv2d(images, weight=weight, padding="same"),
        lambda: F.linear(images, weight=matrix),
        lambda: F.linear(input=images, weight=matrix),
        lambda: F.group_norm(input=images, num_groups=3),
        lambda: F.group_norm(images[0, :, 0], num_groups=5),
        lambda: torch.cat([images, images]),
    ]
    for call in calls:
        expected = call()
        with TwiceDifferentiable(dtype):
            found = call()
        assert found.dtype == torch.float32
        tolerance = 1e-5 if dtype is None else 0.02 * float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=tolerance)


def test_group_norm_keeps_its_digits_where_the_mean_is_large() -> None:
    torch.manual_seed(0)
    images = (100 + torch.randn(2, 4, 32, 32)).contiguous(memory_format=torch.channels_last)
    exact = F.group_norm(images.double(), 4)
    error = float((own.group_norm(images, 4) - exact).abs().max())
    assert error < 1e-4  # a rounding of 100 is 4e-6
    assert float((F.group_norm(images, 4) - exact).abs().max()) > 2 * error


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
