"""MER against algorithm 1 of its paper, with the same draws."""

from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.continual.mer import MER


@pytest.mark.parametrize("own_heads", [False, True])
def test_each_sample_is_learned_as_in_algorithm_1(by_hand: Any, own_heads: bool) -> None:
    alpha, beta, gamma = 0.2, 0.3, 0.6
    arguments = {"batches_per_sample": 2, "batch_size": 3, "within_batch": beta, "across_batches": gamma}
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
            drawn = [by_hand.samples(current, twin.reservoir.sample(2)) for _ in range(2)]
            across = theta
            for samples in drawn:
                within = theta
                for single in zip(*(tensor.split(1) for tensor in samples), strict=True):
                    theta = theta - alpha * by_hand.gradient(theta, single)
                theta = within + beta * (theta - within)
            theta = across + gamma * (theta - across)
            twin.reservoir.add(*current)
    torch.testing.assert_close(by_hand.weights(learner), theta)
    assert learner.storage_floats == learner.budget_floats == 4 * 6


def test_numbers_must_be_positive(by_hand: Any) -> None:
    good = {"batches_per_sample": 1, "batch_size": 1, "within_batch": 1.0, "across_batches": 1.0}
    for name in good:
        with pytest.raises(UserError, match=f"{name} must be positive, got 0"):
            by_hand.learner(MER, learning_rate=0.1, memory_images=1, **{**good, name: 0})
