"""Plain descent on the stream."""

from typing import Any

import pytest
import torch

from rtp.modules.continual.bounds.online import Online


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_is_plain_descent(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(Online, own_heads, learning_rate=0.3)
    expected = by_hand.weights(learner)
    for task in (0, 0, 2):
        batch = by_hand.batch(task)
        expected -= 0.3 * by_hand.gradient(expected, by_hand.samples(batch))
        learner.learn(batch)
    torch.testing.assert_close(by_hand.weights(learner), expected)
    assert learner.storage_bytes == learner.budget_bytes == 0
