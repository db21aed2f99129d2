"""Experience replay against algorithm 1 of its paper, with the same draws."""

from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.continual.replay.experience_replay import ExperienceReplay


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_is_on_the_minibatch_and_as_many_replayed_samples(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(ExperienceReplay, own_heads, learning_rate=0.3, memory_images=6)
    expected = by_hand.weights(learner)
    for step, task in enumerate((0, 0, 1, 2)):
        batch = by_hand.batch(task)
        torch.manual_seed(step)
        replayed = learner.reservoir.sample(4)
        assert len(replayed[1]) == (4 if step else 0)
        expected -= 0.3 * by_hand.gradient(expected, by_hand.samples(batch, replayed))
        torch.manual_seed(step)
        learner.learn(batch)
    torch.testing.assert_close(by_hand.weights(learner), expected)
    assert learner.storage_bytes == learner.budget_bytes == 6 * 24
    assert learner.reservoir.seen == 16


def test_a_replayed_minibatch_is_learned_but_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(ExperienceReplay, learning_rate=0.3, memory_images=100)
    batch = by_hand.batch()
    learner.learn(batch)
    before = by_hand.weights(learner)
    learner.learn(batch._replace(replay=1))
    assert learner.reservoir.seen == len(learner.reservoir) == 4
    assert (by_hand.weights(learner) != before).all()


def test_replay_needs_a_memory(by_hand: Any) -> None:
    with pytest.raises(UserError, match="memory_images must be positive, got 0"):
        by_hand.learner(ExperienceReplay, learning_rate=0.1, memory_images=0)
