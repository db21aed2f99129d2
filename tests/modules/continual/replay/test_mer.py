"""MER against algorithm 1 of its paper, with the same draws."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.replay.mer import MER, SampleLoss, reptile_within_and_across


@pytest.mark.parametrize("own_heads", [False, True])
def test_each_sample_is_learned_as_in_algorithm_1(by_hand: Any, own_heads: bool) -> None:
    alpha, beta, gamma = 0.2, 0.3, 0.6
    arguments = {"batches_per_sample": 2, "batch_size": 3, "beta": beta, "gamma": gamma}
    learner = by_hand.learner(MER, own_heads, learning_rate=alpha, memory_images=4, **arguments)
    twin = by_hand.learner(MER, own_heads, learning_rate=alpha, memory_images=4, **arguments)
    theta = by_hand.weights(learner)
    for step, task in enumerate((0, 2)):
        batch = by_hand.batch(task)
        torch.manual_seed(step)
        learner.learn(batch)
        torch.manual_seed(step)
        images, labels, tasks = by_hand.samples(batch)
        for n in range(4):
            current = images[n : n + 1], labels[n : n + 1], tasks[n : n + 1]
            held = min(step * 4 + n, 4)
            drawn = []
            for _ in range(2):
                places = torch.randint(max(held, 1), (min(2, held),))  # with replacement
                drawn.append(by_hand.samples(current, [part[places] for part in twin.reservoir.content()]))
            across = theta
            for samples in drawn:
                within = theta
                for single in zip(*(tensor.split(1) for tensor in samples), strict=True):
                    theta = theta - alpha * by_hand.gradient(theta, single)
                theta = within + beta * (theta - within)
            theta = across + gamma * (theta - across)
            twin.reservoir.add(*current)
    torch.testing.assert_close(by_hand.weights(learner), theta)
    assert learner.storage_bytes == learner.budget_bytes == 4 * 24


def test_numbers_must_be_positive(by_hand: Any) -> None:
    good = {"batches_per_sample": 1, "batch_size": 1, "beta": 1.0, "gamma": 1.0}
    for name in good:
        with pytest.raises(UserError, match=f"{name} must be positive, got 0"):
            by_hand.learner(MER, learning_rate=0.1, memory_images=1, **{**good, name: 0})


def parabola(weights: tuple[Tensor, Tensor], curvature: float, minimum: float) -> SampleLoss:
    return lambda: sum(curvature * (weight - minimum).square().sum() / 2 for weight in weights)  # type: ignore[return-value]


def test_one_sample_of_the_stream_as_in_algorithm_1() -> None:
    values = [0.7, -1.3, 2.0]
    weights = (
        torch.tensor(values[:2], dtype=torch.double, requires_grad=True),
        torch.tensor(values[2:], dtype=torch.double, requires_grad=True),
    )
    samples = [[(1.0, 0.5), (0.3, -2.0), (2.0, 0.1)], [(0.7, 1.5), (1.1, -1.0), (0.2, 3.0)]]
    batches = [[parabola(weights, *sample) for sample in batch] for batch in samples]
    alpha, beta, gamma = 0.2, 0.3, 0.6

    reptile_within_and_across(weights, batches, alpha, beta, gamma)

    for value, result in zip(values, torch.cat(weights).tolist(), strict=True):
        theta = across = value
        for batch in samples:
            within = theta
            for curvature, minimum in batch:
                theta = theta - alpha * curvature * (theta - minimum)
            theta = within + beta * (theta - within)
        assert result == pytest.approx(across + gamma * (theta - across), abs=1e-12)


def test_both_rates_of_one_are_plain_descent() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 4, dtype=torch.double), torch.randn(6, dtype=torch.double)
    weight = torch.zeros(4, dtype=torch.double, requires_grad=True)
    plain = torch.zeros(4, dtype=torch.double)
    for image, label in zip(images, labels, strict=True):
        plain = plain - 0.1 * 2 * (image @ plain - label) * image
    losses = [lambda i=i: (images[i] @ weight - labels[i]).square() for i in range(6)]
    reptile_within_and_across([weight], [losses[:3], losses[3:]], 0.1, 1.0, 1.0)
    torch.testing.assert_close(weight.detach(), plain)
