"""A-GEM's step against equation 11 of its paper, with the same draws."""

from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.continual.projection.agem import AGEM, project_onto_reference


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_does_not_go_against_a_draw_of_the_earlier_tasks(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(AGEM, own_heads, learning_rate=0.3, reference_samples=4, memory_images=9)
    expected, projected, kept = by_hand.weights(learner), 0, 0
    last: list[Any] = []  # the last three samples of each task so far
    for task in range(3):
        for step in range(12):
            batch = by_hand.batch(task)
            g = by_hand.gradient(expected, by_hand.samples(batch))
            if task:
                torch.manual_seed(step)
                chosen = torch.randperm(3 * task)[:4]
                images, labels, tasks = (part[chosen] for part in by_hand.samples(*last))
                reference = by_hand.gradient(expected, (images, labels, tasks))
                if g @ reference < 0:
                    g = g - (g @ reference) / (reference @ reference) * reference
                    projected += 1
                else:
                    kept += 1
            expected = expected - 0.3 * g
            torch.manual_seed(step)
            learner.learn(batch)
            torch.testing.assert_close(by_hand.weights(learner), expected)
        # 48 samples went round the ring's three places: sample 45 is in the first again
        last.append((batch.images[-3:], batch.labels[-3:], torch.full((3,), task)))
    assert projected > 2
    assert kept > 2


def test_a_replayed_minibatch_is_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(AGEM, learning_rate=0.3, reference_samples=4, memory_images=30)
    batch = by_hand.batch()
    for replay in range(3):
        learner.learn(batch._replace(replay=replay))
    assert len(learner.rings) == 4


def test_the_projection_by_hand() -> None:
    reference = torch.tensor([0.0, 4.0])
    torch.testing.assert_close(project_onto_reference(torch.tensor([1.0, -2.0]), reference), torch.tensor([1.0, 0.0]))
    agrees = torch.tensor([1.0, 2.0])
    assert project_onto_reference(agrees, reference) is agrees
    assert project_onto_reference(agrees, torch.zeros(2)) is agrees  # a task that fits perfectly


def test_what_is_out_of_range_is_refused(by_hand: Any) -> None:
    with pytest.raises(UserError, match="reference_samples must be positive, got 0"):
        by_hand.learner(AGEM, learning_rate=0.1, reference_samples=0, memory_images=3)
    with pytest.raises(UserError, match="memory_images holds 2 images, less than one for each of 3 tasks"):
        by_hand.learner(AGEM, learning_rate=0.1, reference_samples=1, memory_images=2)
