"""ER-ACE against the two losses of its paper, written out class by class."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.modules.continual.replay.er_ace import ERACE, cross_entropy_over


def by_classes(logits: Tensor, labels: list[int], classes: set[int]) -> Tensor:
    """-log of the label's share among some classes, the mean over samples."""
    losses = []
    for row, label in zip(logits.exp(), labels, strict=True):
        losses.append(-torch.log(row[label] / torch.stack([row[number] for number in sorted(classes)]).sum()))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("own_heads", [False, True])
def test_what_comes_and_what_is_replayed_have_classes_of_their_own(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(ERACE, own_heads, learning_rate=0.3, memory_images=6)
    expected = by_hand.weights(learner)
    seen: set[int] = set()
    sizes = set()
    for step, task in enumerate((0, 0, 1, 2)):
        batch = by_hand.batch(task)
        if step == 0:  # one class alone has nothing to be told apart from
            batch = batch._replace(labels=torch.zeros_like(batch.labels))
        incoming = [label + (2 * task if own_heads else 0) for label in batch.labels.tolist()]
        seen |= set(incoming)
        sizes.add((len(set(incoming)), len(seen)))
        theta = expected.clone().requires_grad_()
        loss = by_classes(by_hand.logits(theta, batch.images), incoming, set(incoming))
        torch.manual_seed(step)
        images, labels, tasks = learner.reservoir.sample(4)
        if step:
            replayed = (labels + 2 * tasks if own_heads else labels).tolist()
            loss = loss + by_classes(by_hand.logits(theta, images), replayed, seen)
        expected = expected - 0.3 * torch.autograd.grad(loss, theta)[0]
        torch.manual_seed(step)
        learner.learn(batch)
        torch.testing.assert_close(by_hand.weights(learner), expected)
    assert (1, 1) in sizes
    assert (2, 5 if own_heads else 2) in sizes
    assert learner.seen.nonzero()[:, 0].tolist() == sorted(seen)
    assert learner.reservoir.seen == 16


def test_a_new_class_does_not_push_old_ones_down(by_hand: Any) -> None:
    # of the first minibatch with classes of its own, the gradient reaches no other class's output
    learner = by_hand.learner(ERACE, own_heads=True, learning_rate=0.3, memory_images=6)
    before = by_hand.weights(learner)[-6:]
    learner.learn(by_hand.batch(1))
    assert (by_hand.weights(learner)[-6:] == before).tolist() == [True, True, False, False, True, True]


def test_classes_outside_the_mask_get_no_gradient() -> None:
    logits = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    labels, classes = torch.tensor([0, 2, 2]), torch.tensor([True, False, True, False])
    loss = cross_entropy_over(logits, labels, classes)
    torch.testing.assert_close(loss, by_classes(logits, labels.tolist(), {0, 2}))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient != 0).all(0).tolist() == [True, False, True, False]
