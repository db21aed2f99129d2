"""DER++ against the loss of its paper, with the same draws, and the logits that it stores."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.replay.dark_experience_replay import DarkExperienceReplay


def key(image: Tensor) -> tuple[float, ...]:
    return tuple(image.flatten().tolist())


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_matches_old_logits_and_old_labels(by_hand: Any, own_heads: bool) -> None:
    arguments = {"learning_rate": 0.3, "alpha": 0.7, "beta": 1.3, "memory_images": 8}
    learner = by_hand.learner(DarkExperienceReplay, own_heads, **arguments)
    expected, store = by_hand.weights(learner), learner.reservoir
    given: dict[tuple[float, ...], Tensor] = {}
    for step, task in enumerate((0, 0, 1, 2)):
        batch, held = by_hand.batch(task), len(store)
        torch.manual_seed(step)
        first, second = torch.randperm(held)[:4], torch.randperm(held)[:4]
        theta = expected.clone().requires_grad_()
        loss = by_hand.loss(theta, by_hand.samples(batch))
        if step:
            assert not torch.equal(first, second)
            distances = by_hand.logits(theta, store.images[first]) - store.logits[first]
            loss = loss + 0.7 * distances.square().sum() / distances.numel()
            replayed = store.images[second], store.labels[second], store.tasks[second]
            loss = loss + 1.3 * by_hand.loss(theta, replayed)
        given |= zip(map(key, batch.images), by_hand.logits(expected, batch.images), strict=True)
        expected = expected - 0.3 * torch.autograd.grad(loss, theta)[0]
        torch.manual_seed(step)
        learner.learn(batch)
        for image, logits in zip(store.content()[0], store.logits, strict=False):
            torch.testing.assert_close(logits, given[key(image)])  # those at its first sight, before the step
    torch.testing.assert_close(by_hand.weights(learner), expected)
    assert store.seen == 16


def test_logits_are_charged_to_the_budget(by_hand: Any) -> None:
    arguments = {"learning_rate": 0.3, "alpha": 0.7, "beta": 1.3, "memory_images": 8}
    for own_heads, each in ((False, 4 * (6 + 2)), (True, 4 * (6 + 6))):
        learner = by_hand.learner(DarkExperienceReplay, own_heads, **arguments)
        for _ in range(3):
            learner.learn(by_hand.batch())
        assert learner.budget_bytes == 8 * 24
        assert learner.storage_bytes == 8 * 24 // each * each


def test_a_replayed_minibatch_is_learned_but_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(DarkExperienceReplay, learning_rate=0.3, alpha=0, beta=1, memory_images=100)
    batch = by_hand.batch()
    learner.learn(batch)
    before = by_hand.weights(learner)
    learner.learn(batch._replace(replay=1))
    assert learner.reservoir.seen == len(learner.reservoir) == 4
    assert (by_hand.weights(learner) != before).all()


def test_what_is_out_of_range_is_refused(by_hand: Any) -> None:
    with pytest.raises(UserError, match="alpha must be at least 0, got -1"):
        by_hand.learner(DarkExperienceReplay, learning_rate=0.1, alpha=-1, beta=0, memory_images=9)
    with pytest.raises(UserError, match="beta must be at least 0, got -2"):
        by_hand.learner(DarkExperienceReplay, learning_rate=0.1, alpha=0, beta=-2, memory_images=9)
    with pytest.raises(UserError, match="memory_images=1 holds no image with its 2 logits: raise it"):
        by_hand.learner(DarkExperienceReplay, learning_rate=0.1, alpha=0, beta=0, memory_images=1)
