"""The functions of a step against PyTorch's own first and second derivatives."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rtp.modules.networks import ConvNet
from rtp.modules.unroll.step.functions import step_functions

NETWORK = ConvNet((1, 4, 4), 2, width=2, depth=1).double()
THETA = nn.utils.parameters_to_vector(NETWORK.parameters()).detach()
IMAGES = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1])


def loss(theta: Tensor, images: Tensor) -> Tensor:
    weights, start = {}, 0
    for name, parameter in NETWORK.named_parameters():
        weights[name] = theta[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return F.cross_entropy(functional_call(NETWORK, weights, (images,)), LABELS)


def test_gradient_and_outer_loss() -> None:
    functions = step_functions(NETWORK)
    expected = torch.autograd.functional.jacobian(lambda theta: loss(theta, IMAGES), THETA)
    torch.testing.assert_close(functions.gradient(THETA, IMAGES, LABELS), expected)
    gradient, value = functions.outer_loss_and_grad(THETA, IMAGES, LABELS)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(value, loss(THETA, IMAGES))


def test_hessian_vector_products_are_those_of_the_whole_hessian() -> None:
    direction = torch.randn(len(THETA), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (hessian, _), (mixed, _) = torch.autograd.functional.hessian(loss, (THETA, IMAGES))
    through_theta, through_images = step_functions(NETWORK).hessian_vector_products(THETA, direction, IMAGES, LABELS)
    torch.testing.assert_close(through_theta, hessian @ direction, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(through_images.flatten(), mixed.flatten(0, -2) @ direction, rtol=1e-9, atol=1e-12)


def test_networks_of_one_architecture_share_their_functions() -> None:
    first = step_functions(NETWORK)
    assert step_functions(ConvNet((1, 4, 4), 2, width=2, depth=1)) is first
    assert step_functions(ConvNet((1, 4, 4), 2, width=3, depth=1)) is not first
    assert step_functions(NETWORK, "bf16") is not first


def test_networks_that_print_alike_and_differ_do_not_share_them() -> None:
    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 2)
            self.scale = scale

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.linear(images.flatten(1))
            return self.scale * logits

    first = step_functions(Scaled(1.0))
    assert repr(Scaled(1.0)) == repr(Scaled(3.0))
    assert step_functions(Scaled(1.0)) is first
    assert step_functions(Scaled(3.0)) is not first
