"""The upper bound: training on the union of the tasks, whatever came before."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.datamodules.streams.base import TaskStream
from rtp.errors import UserError
from rtp.modules.continual.bounds.multitask import Multitask


class ThreeTasks(TaskStream):
    """Ten samples a task; the stream's own machinery is not needed."""

    def __init__(self, by_hand: Any) -> None:
        self.batches = [by_hand.batch(task, size=10) for task in range(3)]

    def task_set(self, task: int, split: str) -> tuple[Tensor, Tensor]:
        assert split == "train"
        return self.batches[task].images, self.batches[task].labels

    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def make(by_hand: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def learner(own_heads: bool, **arguments: Any) -> tuple[Any, ThreeTasks]:
        made = by_hand.learner(Multitask, own_heads, **arguments)
        # called for float64 networks, as fresh ones are float32
        monkeypatch.setattr(made, "fresh_network", lambda outputs, fresh=made.fresh_network: fresh(outputs).double())
        stream = ThreeTasks(by_hand)
        monkeypatch.setattr(Multitask, "trainer", SimpleNamespace(datamodule=stream))
        return made, stream

    return learner


@pytest.mark.parametrize("own_heads", [False, True])
def test_all_tasks_so_far_are_trained_on_together(by_hand: Any, make: Any, own_heads: bool) -> None:
    # one minibatch a pass: every pass is a step on the whole union, in whatever order
    learner, stream = make(own_heads, learning_rate=0.3, passes=3, batch_size=20)
    for task in range(2):
        learner.learn(stream.batches[task])
        learner.learn(stream.batches[task]._replace(replay=1))
        torch.manual_seed(task)
        learner.end_task(task)
        torch.manual_seed(task)
        expected = by_hand.weights(SimpleNamespace(net=learner.fresh_network(by_hand.outputs)))
        for _ in range(3):
            union = by_hand.samples(*stream.batches[: task + 1])
            expected -= 0.3 * by_hand.gradient(expected, union)
        torch.testing.assert_close(by_hand.weights(learner), expected)
        assert learner.storage_bytes == learner.budget_bytes == (task + 1) * 10 * 24


def test_every_sample_is_seen_once_a_pass(by_hand: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, stream = make(False, learning_rate=0.3, passes=2, batch_size=7)
    seen: list[Tensor] = []
    loss = learner.loss

    def noting(images: Tensor, *rest: Tensor) -> Tensor:
        seen.append(images)
        return loss(images, *rest)

    monkeypatch.setattr(learner, "loss", noting)
    learner.end_task(2)
    assert [len(images) for images in seen] == [7, 7, 7, 7, 2] * 2
    wanted = sorted(torch.cat([batch.images for batch in stream.batches]).flatten(1).tolist())
    first, second = torch.cat(seen[:5]).flatten(1).tolist(), torch.cat(seen[5:]).flatten(1).tolist()
    assert sorted(first) == sorted(second) == wanted
    assert first != second


@pytest.mark.parametrize("name", ["passes", "batch_size"])
def test_numbers_must_be_positive(by_hand: Any, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be positive, got 0"):
        by_hand.learner(Multitask, learning_rate=0.1, **{"passes": 1, "batch_size": 1, name: 0})
