"""Meta-gradients against finite differences and a case worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.pixel import PixelMemory
from rtp.modules.networks import ConvNet
from rtp.modules.unroll.base import Episode, RealImages
from rtp.modules.unroll.higher import HigherUnroll
from rtp.modules.unroll.inner_optimizer import InnerSGD, MomentumMode

SHAPE, CLASSES, STEPS = (1, 4, 4), 3, 5


def episode_of(images: Tensor, slots: int) -> Episode:
    generator = torch.Generator().manual_seed(1)
    return Episode(
        images=images,
        labels=torch.arange(CLASSES).repeat_interleave(slots),
        minibatches=torch.randint(len(images), (STEPS, 4), generator=generator),
        objective=RealImages(
            torch.randn(5, *SHAPE, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
        ),
    )


def meta_loss_of(memory: Memory, mode: MomentumMode) -> Tensor:
    torch.manual_seed(7)
    network = ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    images = memory.recall(torch.arange(CLASSES)).flatten(0, 1)
    optimizer = InnerSGD(learning_rate=0.2, momentum=0.9, momentum_mode=mode)
    return HigherUnroll(STEPS).meta_loss(network, optimizer, episode_of(images, memory.num_slots))


@pytest.mark.parametrize("mode", ["none", "full"])
@pytest.mark.parametrize("kind", ["addressable", "pixel"])
def test_meta_gradient_equals_central_differences(kind: str, mode: MomentumMode) -> None:
    torch.manual_seed(0)
    memory: Memory = (
        AddressableMemory(SHAPE, CLASSES, 3, num_bases=2) if kind == "addressable" else PixelMemory(SHAPE, CLASSES, 2)
    )
    memory.double()
    meta_loss_of(memory, mode).backward()
    # Truncation error of central differences is O(step^2), rounding error O(1e-16 / step): 1e-5 balances the two
    # at about 1e-10, which the tolerance leaves a factor of 100.
    step = 1e-5
    for parameter in memory.parameters():
        gradient, flat = parameter.grad, parameter.data.view(-1)
        assert gradient is not None
        for place in range(0, len(flat), max(1, len(flat) // 10)):
            value = flat[place].item()
            flat[place] = value + step
            above = meta_loss_of(memory, mode).item()
            flat[place] = value - step
            below = meta_loss_of(memory, mode).item()
            flat[place] = value
            difference = (above - below) / (2 * step)
            torch.testing.assert_close(gradient.view(-1)[place].item(), difference, rtol=1e-6, atol=1e-8)


def test_an_objective_of_the_trained_weights_has_the_gradient_of_differences() -> None:
    torch.manual_seed(0)
    network = ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    theta = nn.utils.parameters_to_vector(network.parameters()).detach()
    target = theta + torch.randn(len(theta), dtype=torch.float64)
    images = torch.randn(6, *SHAPE, dtype=torch.float64, requires_grad=True)
    direction, step = torch.randn_like(images), 1e-5

    def at(pixels: Tensor) -> Tensor:
        return HigherUnroll(STEPS).meta_loss(
            network, InnerSGD(0.2), replace(episode_of(pixels, 2), objective=lambda w: (w - target).pow(4).sum())
        )

    at(images).backward()
    assert images.grad is not None
    difference = (at(images.detach() + step * direction) - at(images.detach() - step * direction)) / (2 * step)
    torch.testing.assert_close((images.grad * direction).sum().item(), difference.item(), rtol=1e-7, atol=0)


def test_an_objective_sees_the_weights_in_the_order_of_the_parameters() -> None:
    torch.manual_seed(0)
    network = ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    images = torch.randn(6, *SHAPE, dtype=torch.float64, requires_grad=True)
    episode, seen = episode_of(images, 2), []

    def objective(weights: Tensor) -> Tensor:
        seen.append(weights.detach())
        return weights.sum()

    HigherUnroll(STEPS).meta_loss(network, InnerSGD(0.2, 0.5), replace(episode, objective=objective))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.5)
    for chosen in episode.minibatches:
        optimizer.zero_grad()
        F.cross_entropy(network(images.detach()[chosen]), episode.labels[chosen]).backward()
        optimizer.step()
    torch.testing.assert_close(seen, [nn.utils.parameters_to_vector(network.parameters()).detach()])


class Scalar(nn.Module):
    """Logits (theta x, 0) of images of a single pixel."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        logit = self.theta * images.flatten()
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.mark.parametrize("mode", ["none", "forward_only", "full"])
def test_two_steps_by_hand(mode: MomentumMode) -> None:
    # With l(theta, x) = log(1 + exp(-theta x)) for label 0: g = -x s(-theta x), where s is the logistic function.
    # H = dg/dtheta = x^2 s(theta x) s(-theta x), M = dg/dx = -s(-theta x) + theta x s(theta x) s(-theta x).
    theta, x, real, alpha, beta = 0.5, 1.5, 0.8, 0.3, 0.9

    def s(value: float) -> float:
        return float(torch.sigmoid(torch.tensor(value, dtype=torch.float64)))

    def g(theta: float) -> float:
        return -x * s(-theta * x)

    def H(theta: float) -> float:
        return x * x * s(theta * x) * s(-theta * x)

    def M(theta: float) -> float:
        return -s(-theta * x) + theta * x * s(theta * x) * s(-theta * x)

    carried = {"none": 0.0, "forward_only": beta, "full": beta}[mode]
    differentiated = {"none": 0.0, "forward_only": 0.0, "full": beta}[mode]
    theta_1 = theta - alpha * g(theta)
    theta_2 = theta_1 - alpha * (carried * g(theta) + g(theta_1))
    # d theta_1 / dx, then d theta_2 / dx by the chain rule through theta_1 and, in "full" alone, through m_1
    d_theta_1 = -alpha * M(theta)
    d_theta_2 = d_theta_1 - alpha * (differentiated * M(theta) + M(theta_1) + H(theta_1) * d_theta_1)
    expected = -real * s(-theta_2 * real) * d_theta_2

    image = torch.tensor([[[[x]]]], dtype=torch.float64, requires_grad=True)
    zeros = torch.zeros(1, dtype=torch.long)
    episode = Episode(
        image, zeros, zeros.repeat(2, 1), RealImages(torch.full((1, 1, 1, 1), real, dtype=torch.float64), zeros)
    )
    loss = HigherUnroll(2).meta_loss(Scalar(theta), InnerSGD(alpha, beta, mode), episode)
    loss.backward()

    torch.testing.assert_close(loss.item(), -torch.log(torch.tensor(s(theta_2 * real), dtype=torch.float64)).item())
    assert image.grad is not None
    torch.testing.assert_close(image.grad.item(), expected, rtol=1e-12, atol=0)


def test_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    network = ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    before = [parameter.clone() for parameter in network.parameters()]
    images = torch.randn(6, *SHAPE, dtype=torch.float64, requires_grad=True)
    HigherUnroll(STEPS).meta_loss(network, InnerSGD(0.5), episode_of(images, 2)).backward()
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_the_loop_trains_the_network() -> None:
    torch.manual_seed(0)
    network = ConvNet(SHAPE, CLASSES, width=8, depth=1).double()
    images = torch.randn(6, *SHAPE, dtype=torch.float64)
    labels = torch.arange(CLASSES).repeat_interleave(2)
    everything = torch.arange(6).repeat(30, 1)
    start = F.cross_entropy(network(images), labels)
    end = HigherUnroll(30).meta_loss(
        network,
        InnerSGD(0.1),
        Episode(images.requires_grad_(), labels, everything, RealImages(images.detach(), labels)),
    )
    assert end < 0.1 * start


def test_a_loop_without_steps_is_refused() -> None:
    with pytest.raises(UserError, match="num_steps must be at least 1, got 0"):
        HigherUnroll(0)
