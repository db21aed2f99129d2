"""EWC's step against the sum of its penalties, a task at a time, and a Fisher information by sampling labels out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.modules.continual.regularised.ewc import EWC, diagonal_fisher


def expected_fisher(by_hand: Any, weights: Tensor, images: Tensor, task: int) -> Tensor:
    """The mean over images of the expectation over labels of the squared gradient of the log-likelihood."""
    total = torch.zeros_like(weights)
    for image in images.split(1):
        for label in range(2):
            sample = image, torch.tensor([label]), torch.tensor([task])
            probability = torch.exp(-by_hand.loss(weights, sample))
            total += probability * by_hand.gradient(weights, sample) ** 2
    return total / len(images)


def test_one_penalty_for_each_task(by_hand: Any) -> None:
    for own_heads in (False, True):
        learner = by_hand.learner(EWC, own_heads, learning_rate=0.2, ewc_lambda=3.0, memory_images=100)
        expected = by_hand.weights(learner)
        anchors: list[tuple[Tensor, Tensor]] = []
        for task in range(3):
            images = []
            for _ in range(3):
                batch = by_hand.batch(task)
                images.append(batch.images)
                penalty = sum((3.0 * f * (expected - theta) for f, theta in anchors), torch.zeros(()))
                expected = expected - 0.2 * (by_hand.gradient(expected, by_hand.samples(batch)) + penalty)
                learner.learn(batch)
            learner.end_task(task)
            anchors.append((expected_fisher(by_hand, expected, torch.cat(images), task), expected))
            assert len(learner.reservoir) == learner.storage_bytes == 0
        torch.testing.assert_close(by_hand.weights(learner), expected)


def test_the_penalty_is_the_gradient_of_the_parabolas(by_hand: Any) -> None:
    # at the end of the first task there is no pull, away from it lambda F (theta - theta_1)
    learner = by_hand.learner(EWC, learning_rate=0.1, ewc_lambda=2.0, memory_images=8)
    learner.learn(by_hand.batch(size=8))
    assert learner.storage_bytes == 8 * 24
    learner.end_task(0)
    theta = by_hand.weights(learner)
    torch.testing.assert_close(learner.pull, learner.importance * theta)
    assert (learner.importance > 0).all()
    moved = (theta + 0.5).requires_grad_()
    parabola = 2.0 / 2 * (learner.importance * (moved - theta) ** 2).sum()
    (gradient,) = torch.autograd.grad(parabola, moved)
    torch.testing.assert_close(2.0 * (learner.importance * moved - learner.pull), gradient)


def test_of_a_linear_classifier_in_closed_form() -> None:
    # d log p(y|x) / dW_cd = ([y = c] - p_c) x_d, with variance p_c (1 - p_c) x_d^2 under y ~ p
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    images = torch.randn(5, 1, 2, 3, dtype=torch.double)
    p = network(images).softmax(1).detach()
    variance = p * (1 - p)
    weight = torch.einsum("nc,nd->cd", variance, images.flatten(1).square()) / 5
    expected = torch.cat([weight.flatten(), variance.mean(0)])
    torch.testing.assert_close(diagonal_fisher(network, images, torch.arange(3)), expected)


def test_of_a_deep_network_and_one_task_of_several() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6)).double()
    images = torch.randn(3, 1, 2, 2, dtype=torch.double)
    expected = torch.zeros(5 * 5 + 6 * 6, dtype=torch.double)
    for image in images:
        for label in range(2):
            log_p = F.log_softmax(network(image[None])[0, 2:4], 0)[label]
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(log_p, list(network.parameters()))])
            expected += log_p.exp().detach() * gradient**2 / 3
    fisher = diagonal_fisher(network, images, torch.tensor([2, 3]))
    torch.testing.assert_close(fisher, expected)
    assert (fisher[-6:] > 0).tolist() == [False, False, True, True, False, False]  # the biases of the other tasks
