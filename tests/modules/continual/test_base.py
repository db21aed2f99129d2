"""What every learner of a stream has: a budget that is checked, columns of a task, a count of finished tasks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import DivergenceError, UserError
from rtp.modules import MLP, ContinualLearner
from rtp.modules.continual.stores.reservoir import Reservoir


class Hoarder(ContinualLearner):
    """Keeps every sample, whatever the budget is; says that each image is of the class of its number."""

    def __init__(self, memory_images: int, total_classes: int = 3) -> None:
        super().__init__((1, 2, 2), 3, total_classes, 4, MLP, memory_images)
        self.samples = Reservoir(100, (1, 2, 2))
        self.ended: list[int] = []

    def learn(self, batch: StreamBatch) -> None:
        self.samples.add(batch.images, batch.labels, batch.task)

    def end_task(self, task: int) -> None:
        assert int(self.finished_tasks) == task  # not counted yet
        self.ended.append(task)

    def predict(self, images: Tensor, task: int) -> Tensor:
        return self.task_columns(torch.eye(self.total_classes)[: len(images)], task)

    def log(self, name: str, value: Any, **_: Any) -> None:  # type: ignore[override]  # there is no trainer
        assert (name, value) == ("memory/storage_bytes", float(self.samples.storage_bytes))


def batch(task: int = 0, last: bool = False) -> StreamBatch:
    return StreamBatch(torch.zeros(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64), task, 0, last)


def test_the_budget_is_counted_in_bytes_and_checked_after_every_minibatch() -> None:
    learner = Hoarder(memory_images=10)
    assert (learner.budget_bytes, learner.storage_bytes) == (160, 0)
    learner.training_step(batch(), 0)
    learner.training_step(batch(), 1)
    assert learner.storage_bytes == 160
    with pytest.raises(RuntimeError, match="Hoarder stores 240 bytes, but its budget is 160"):
        learner.training_step(batch(), 2)


def test_the_budget_is_checked_before_a_task_ends_and_gives_samples_up() -> None:
    class Spender(Hoarder):
        def end_task(self, task: int) -> None:
            self.samples.clear()

    learner = Spender(memory_images=10)
    learner.training_step(batch(), 0)
    learner.training_step(batch(last=True), 1)
    assert learner.storage_bytes == 0
    assert learner.largest_storage_bytes == 160
    for number in range(2):
        learner.training_step(batch(1), number)
    with pytest.raises(RuntimeError, match="Spender stores 240 bytes, but its budget is 160"):
        learner.training_step(batch(1, last=True), 2)


def test_the_budget_is_checked_after_the_end_of_a_task() -> None:
    class Late(Hoarder):
        def end_task(self, task: int) -> None:
            self.learn(batch(task))

    learner = Late(memory_images=5)
    with pytest.raises(RuntimeError, match="Late stores 160 bytes, but its budget is 80"):
        learner.training_step(batch(last=True), 0)


def test_finished_tasks_are_counted_and_part_of_the_state() -> None:
    learner = Hoarder(memory_images=100)
    for task in range(2):
        learner.training_step(batch(task), 0)
        learner.training_step(batch(task, last=True), 1)
    learner.training_step(batch(2), 0)
    assert learner.ended == [0, 1]
    assert int(learner.finished_tasks) == 2
    assert int(learner.state_dict()["finished_tasks"]) == 2


@pytest.mark.parametrize("task", [0, 2])
def test_a_task_comes_after_the_one_before_it(task: int) -> None:
    learner = Hoarder(memory_images=100)
    learner.training_step(batch(0, last=True), 0)
    with pytest.raises(UserError, match=f"task {task} comes, but 1 tasks are finished: start the run again"):
        learner.training_step(batch(task), 0)


def test_a_task_owns_its_columns_where_heads_are_not_shared() -> None:
    logits = torch.arange(24.0).view(2, 12)
    assert Hoarder(0, total_classes=12).task_columns(logits, 2).tolist() == [[6, 7, 8], [18, 19, 20]]
    shared = torch.arange(6.0).view(2, 3)
    assert torch.equal(Hoarder(0).task_columns(shared, 2), shared)


def test_a_single_network_is_its_own_classifier() -> None:
    (classifier,) = Hoarder(0, total_classes=12).classifiers(1)
    assert classifier(torch.zeros(5, 1, 2, 2)).argmax(1)[3:].tolist() == [0, 1]


def test_networks_are_built_for_the_images() -> None:
    network = Hoarder(0).fresh_network(7)
    assert network(torch.zeros(5, 1, 2, 2)).shape == (5, 7)


def test_a_nan_stops_the_run() -> None:
    learner = Hoarder(0)
    learner.check_finite("the loss", torch.tensor(1.0))
    with pytest.raises(DivergenceError, match="the loss is nan at step 0: training stops"):
        learner.check_finite("the loss", torch.tensor(float("nan")))


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(UserError, match="memory_images must be at least 0, got -1"):
        Hoarder(-1)
