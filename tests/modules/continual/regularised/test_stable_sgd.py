"""Stable SGD's rates, and that it keeps nothing."""

from typing import Any

import pytest

from rtp.errors import UserError
from rtp.modules.continual.regularised.stable_sgd import StableSGD


def test_the_rate_falls_with_each_task(by_hand: Any) -> None:
    learner = by_hand.learner(StableSGD, learning_rate=0.4, decay=0.5)
    expected = by_hand.weights(learner)
    for task, rate in ((0, 0.4), (0, 0.4), (1, 0.2), (2, 0.1)):
        batch = by_hand.batch(task)
        expected = expected - rate * by_hand.gradient(expected, by_hand.samples(batch))
        learner.learn(batch)
        learner.end_task(task)
    assert (learner.storage_bytes, learner.budget_bytes) == (0, 0)
    # the weights do not leave 64 bits by a rate of 32
    assert (by_hand.weights(learner) - expected).abs().max() < 1e-14


@pytest.mark.parametrize("decay", [0, 1.1])
def test_a_decay_is_at_most_one(by_hand: Any, decay: float) -> None:
    with pytest.raises(UserError, match=rf"decay must lie in \(0, 1\], got {decay}"):
        by_hand.learner(StableSGD, learning_rate=0.1, decay=decay)
