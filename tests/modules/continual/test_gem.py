"""GEM's step against algorithm 1 of its paper, and its memory of the last samples."""

from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.continual.gem import GEM


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_increases_no_stored_tasks_loss(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(GEM, own_heads, learning_rate=0.01, margin=0.0, memory_images=15)
    stored: dict[int, Any] = {}
    projected = 0
    for task in range(3):
        for _ in range(10):
            batch = by_hand.batch(task, size=5)
            before = by_hand.weights(learner)
            gradient = by_hand.gradient(before, by_hand.samples(batch))
            learner.learn(batch)
            change = by_hand.weights(learner) - before
            slopes = {k: by_hand.gradient(before, samples) for k, samples in stored.items()}
            assert all(change @ slope < 1e-12 for slope in slopes.values())
            if all(gradient @ slope >= 0 for slope in slopes.values()):
                torch.testing.assert_close(change, -0.01 * gradient)
            else:
                projected += 1
                violated = [slope for slope in slopes.values() if gradient @ slope < 0]
                if len(violated) == len(slopes) == 1:
                    expected = gradient - (gradient @ violated[0]) / violated[0].square().sum() * violated[0]
                    torch.testing.assert_close(change, -0.01 * expected)
        stored[task] = by_hand.samples(batch)
    assert projected > 2


def test_the_last_samples_of_each_task_are_stored(by_hand: Any) -> None:
    learner = by_hand.learner(GEM, learning_rate=0.01, margin=0.5, memory_images=16)
    first, second, third = (by_hand.batch(size=3) for _ in range(3))
    learner.learn(first)
    assert learner.storage_floats == 3 * 6
    learner.learn(first._replace(replay=1))
    assert learner.storage_floats == 3 * 6
    learner.learn(second)
    learner.learn(third)
    assert learner.storage_floats == 5 * 6
    seen = torch.cat([first.images, second.images, third.images])
    # a third of 16 is 5 places: the last 5 of 9 samples, each in its place of the ring
    torch.testing.assert_close(learner.images[0], seen[[5, 6, 7, 8, 4]])
    large = by_hand.batch(task=1, size=7)
    learner.learn(large)
    assert {tuple(image.flatten().tolist()) for image in learner.images[1]} == {
        tuple(image.flatten().tolist()) for image in large.images[-5:]
    }
    assert learner.storage_floats == 10 * 6 <= learner.budget_floats


def test_each_task_needs_a_sample(by_hand: Any) -> None:
    with pytest.raises(UserError, match="memory_images is 2, less than one image for each of 3 tasks"):
        by_hand.learner(GEM, learning_rate=0.1, margin=0.0, memory_images=2)
    with pytest.raises(UserError, match="margin must be at least 0, got -1"):
        by_hand.learner(GEM, learning_rate=0.1, margin=-1, memory_images=3)
