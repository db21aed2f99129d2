"""GDumb: what it stores of a stream, and networks trained on nothing else."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules import GDumb
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, train_networks
from rtp.utils.seeds import derived_seed

PROTOCOL = TrainingProtocol(epochs=200, batch_size=5, learning_rate=0.1)


def learned(by_hand: Any, own_heads: bool = False, **arguments: Any) -> Any:
    """Three tasks of 24 samples; a task's label is whether the first pixel is positive, turned round in task 1."""
    learner = by_hand.learner(GDumb, own_heads, **{"memory_images": 12, "protocol": PROTOCOL} | arguments).float()
    for task in range(3):
        for _ in range(6):
            images, labels = labelled(by_hand, task)
            torch.manual_seed(task)
            learner.learn(by_hand.batch(task)._replace(images=images, labels=labels))
    return learner


def labelled(by_hand: Any, task: int, size: int = 4) -> tuple[Tensor, Tensor]:
    images = by_hand.batch(size=size).images.float()
    images[:, 0, 0, 0] += images[:, 0, 0, 0].sign()
    return images, (images[:, 0, 0, 0] > 0).long() ^ (task == 1)


def held(learner: Any) -> Counter[tuple[int, int]]:
    _, labels, tasks = learner.store.content()
    return Counter(zip(labels.tolist(), tasks.tolist(), strict=True))


def test_labels_alone_leave_no_place_for_later_tasks_and_tasks_and_labels_do(by_hand: Any) -> None:
    assert held(learned(by_hand)) == {(label, 0): 6 for label in range(2)}
    balanced = held(learned(by_hand, balance="tasks_and_labels"))
    assert balanced == {(label, task): 2 for label in range(2) for task in range(3)}
    assert held(learned(by_hand, own_heads=True)) == balanced


@pytest.mark.parametrize("own_heads", [False, True])
def test_networks_are_trained_on_the_stored_samples_alone(by_hand: Any, own_heads: bool) -> None:
    learner = learned(by_hand, own_heads, networks=2, seed=3)
    generators = torch.get_rng_state()
    classifiers = learner.classifiers(2)
    assert torch.equal(torch.get_rng_state(), generators)
    images, labels, tasks = learner.store.content()
    trainees = []
    for number in range(2):
        seed = derived_seed(3, number)
        with isolated_rng(seed):
            network = learner.network(learner.image_shape, by_hand.outputs)
        trainees.append(Trainee(network, images, labels + 2 * tasks if own_heads else labels, seed))
    shown = by_hand.batch().images.float()
    own = slice(4, 6) if own_heads else slice(None)
    for classifier, network in zip(classifiers, train_networks(trainees, PROTOCOL), strict=True):
        torch.testing.assert_close(classifier(shown), network(shown)[:, own])
    torch.testing.assert_close(learner.predict(shown, 2), classifiers[0](shown))
    assert not list(learner.parameters())  # a network is no state


def test_a_task_is_told_apart_by_its_own_outputs(by_hand: Any) -> None:
    learner = learned(by_hand, own_heads=True)
    for task in range(3):
        images, labels = labelled(by_hand, task, size=200)
        assert (learner.predict(images, task).argmax(1) == labels).float().mean() > 0.7


def test_networks_are_trained_once_for_all_tasks_and_again_after_a_minibatch(
    by_hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learned(by_hand)
    trained: list[Any] = []
    original = learner.trained_networks

    def noting(*arguments: Any) -> Any:
        trained.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(learner, "trained_networks", noting)
    for task in range(3):
        learner.classifiers(task)
    assert len(trained) == 1
    learner.learn(by_hand.batch()._replace(replay=1))
    learner.classifiers(0)
    assert len(trained) == 2
    other = learned(by_hand, seed=1)
    learner.load_state_dict(other.state_dict())
    learner.classifiers(0)
    assert len(trained) == 3


def test_a_replayed_minibatch_is_not_stored_again(by_hand: Any) -> None:
    learner = by_hand.learner(GDumb, memory_images=100)
    for replay in range(3):
        learner.learn(by_hand.batch()._replace(replay=replay))
    assert len(learner.store) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_images": 0}, "memory_images must be positive, got 0"),
        ({"networks": 0}, "networks must be at least 1, got 0"),
        ({"balance": "tasks"}, "balance is 'tasks': use one of labels, tasks_and_labels"),
    ],
)
def test_what_is_out_of_range_is_refused(by_hand: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        by_hand.learner(GDumb, **{"memory_images": 5} | arguments)
