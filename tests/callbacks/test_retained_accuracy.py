"""Accuracies after each task by hand; and a learner that stores everything, which is training on the stream's data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.callbacks import RetainedAccuracy
from rtp.datamodules import Digits, PermutedTasks, RotatedTasks, TaskStream
from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules import MLP, AddressableMemory, CompressThenRecall, ContinualLearner, HigherUnroll, Memory
from rtp.modules.continual.base import Classifier
from rtp.modules.continual.bounds.online import Online
from rtp.modules.continual.stores.reservoir import Reservoir
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, train_networks
from rtp.utils.seeds import derived_seed

TASKS, SAMPLES = 3, 35
PROTOCOL = TrainingProtocol(epochs=30, learning_rate=0.1)


def network(image_shape: tuple[int, int, int], num_classes: int) -> MLP:
    return MLP(image_shape, num_classes, hidden_width=16)


class Quiet(ContinualLearner):
    """A learner that needs no optimizer."""

    def learn(self, batch: StreamBatch) -> None: ...

    def predict(self, images: Tensor, task: int) -> Tensor:
        raise NotImplementedError

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


class Constant(Quiet):
    """Takes every image of task t for class t + the number of finished tasks."""

    def __init__(self) -> None:
        super().__init__((1, 8, 8), 10, 10, TASKS, network, 0)

    def predict(self, images: Tensor, task: int) -> Tensor:
        constant = torch.tensor(task + int(self.finished_tasks))
        return F.one_hot(constant, 10).float().expand(len(images), 10)


class KeepsEverything(Quiet):
    """Stores all samples, and trains two networks on those of a task."""

    keeps_changing = False

    def __init__(self) -> None:
        super().__init__((1, 8, 8), 10, 10, TASKS, network, TASKS * SAMPLES)
        self.reservoir = Reservoir(self.memory_images, self.image_shape)
        self.trained: list[int] = []

    def learn(self, batch: StreamBatch) -> None:
        if batch.replay == 0:
            self.reservoir.add(batch.images, batch.labels, batch.task)

    def classifiers(self, task: int) -> list[Classifier]:
        self.trained.append(task)
        images, labels, tasks = self.reservoir.content()
        return trained_on(images[tasks == task], labels[tasks == task], task)


def trained_on(images: Tensor, labels: Tensor, task: int) -> list[Classifier]:
    trainees = []
    for number in range(2):
        seed = derived_seed(0, task, number)
        with isolated_rng(seed):
            trainees.append(Trainee(network((1, 8, 8), 10), images, labels, seed))
    return [*train_networks(trainees, PROTOCOL)]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[RetainedAccuracy, TaskStream, L.Trainer]]:
    """Learn three tasks and test."""

    def run(
        learner: ContinualLearner, kind: type[TaskStream] = PermutedTasks, test: bool = True, **settings: Any
    ) -> tuple[RetainedAccuracy, TaskStream, L.Trainer]:
        stream = kind(source=Digits(), tasks=TASKS, samples_per_task=SAMPLES, replays=2, validation_samples=60)
        evaluation = RetainedAccuracy()
        own: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": TASKS,
            "reload_dataloaders_every_n_epochs": 1,
            "default_root_dir": tmp_path,
            "callbacks": [evaluation],
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "inference_mode": False,
        }
        trainer = L.Trainer(**own | settings)
        trainer.fit(learner, datamodule=stream)
        if test:
            trainer.test(learner, datamodule=stream, verbose=False)
        return evaluation, stream, trainer

    return run


def share(stream: TaskStream, task: int, split: Any, label: int) -> float:
    return float((stream.task_set(task, split)[1] == label).double().mean())


def test_the_accuracies_after_each_task(run: Any, tmp_path: Path) -> None:
    evaluation, stream, trainer = run(Constant())
    expected = [[share(stream, task, "val", task + after) for task in range(after)] for after in range(1, TASKS + 1)]
    assert evaluation.history == [pytest.approx(row) for row in expected]
    assert trainer.callback_metrics["test/retained_accuracy"] == pytest.approx(
        sum(share(stream, task, "test", task + TASKS) for task in range(TASKS)) / TASKS
    )
    result = json.loads((tmp_path / "test.json").read_text())
    assert result["test_accuracies"] == [[share(stream, task, "test", task + TASKS)] for task in range(TASKS)]
    interference = sum(expected[-1][task] - expected[task][task] for task in range(TASKS)) / TASKS
    assert interference != 0
    assert result["backward_transfer_interference"] == pytest.approx(interference)
    assert result["learner"] == "Constant"


def online() -> Online:
    torch.manual_seed(0)
    return Online(
        image_shape=(1, 8, 8),
        num_classes=10,
        total_classes=10,
        num_tasks=TASKS,
        network=network,
        learning_rate=0.1,
    )


def test_validations_within_a_task_leave_the_row_of_the_one_before(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(self: RetainedAccuracy, trainer: L.Trainer, pl_module: ContinualLearner) -> None:
        original(self, trainer, pl_module)
        measured.append(int(pl_module.finished_tasks))

    measured: list[int] = []
    original = RetainedAccuracy.on_validation_epoch_end
    expected, _, _ = run(online())
    monkeypatch.setattr(RetainedAccuracy, "on_validation_epoch_end", record)
    evaluation, _, _ = run(online(), val_check_interval=0.25)  # of 8 minibatches
    assert measured == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert [len(row) for row in evaluation.history] == [1, 2, 3]
    assert evaluation.history == expected.history
    assert evaluation.retention.interference == expected.retention.interference < 0


@pytest.mark.parametrize(
    ("validation", "rows"),
    [
        ({"val_check_interval": 3}, []),  # after minibatches 3 and 6 of 8
        ({"check_val_every_n_epoch": 2}, [2]),
        ({"check_val_every_n_epoch": 2, "val_check_interval": 0.25}, [2]),
    ],
)
def test_a_task_that_no_validation_follows_has_no_row(validation: dict[str, Any], rows: list[int], run: Any) -> None:
    evaluation, _, _ = run(online(), **validation)
    assert [len(row) for row in evaluation.history] == rows
    assert evaluation.retention.interference is None


@pytest.mark.parametrize("learner", [online, KeepsEverything])
def test_another_run_with_the_same_callback_has_its_own_history(
    learner: Callable[[], ContinualLearner], run: Any
) -> None:
    evaluation, _, _ = run(learner(), test=False)
    expected = evaluation.history
    run(Constant(), test=False, callbacks=[evaluation])
    assert evaluation.history[0] != expected[0]
    run(learner(), test=False, callbacks=[evaluation])
    assert evaluation.history == expected


@pytest.mark.parametrize("kind", [PermutedTasks, RotatedTasks])
def test_storing_everything_is_training_on_the_streams_own_data(kind: type[TaskStream], run: Any) -> None:
    learner = KeepsEverything()
    evaluation, stream, _ = run(learner, kind)
    assert learner.storage_bytes == learner.budget_bytes
    for split, found in (("val", [[row] for row in evaluation.history[-1]]), ("test", evaluation.retention.test)):
        for task in range(TASKS):
            own_images, own_labels = stream.task_set(task, "train")
            images, labels = stream.task_set(task, split)
            accuracies = [
                float((classifier(images).argmax(1) == labels).double().mean())
                for classifier in trained_on(own_images, own_labels, task)
            ]
            assert min(accuracies) > 0.3
            expected = accuracies if split == "test" else [sum(accuracies) / 2]
            assert found[task] == pytest.approx(expected, abs=1e-12)


def test_what_cannot_have_changed_is_measured_once(run: Any) -> None:
    learner = KeepsEverything()
    evaluation, _, _ = run(learner)
    assert learner.trained == [0, 1, 2, *range(TASKS)]  # while learning, in the test
    assert evaluation.history[2][:2] == [*evaluation.history[0], evaluation.history[1][1]]


def test_compress_then_recall_holds_the_whole_task_where_the_budget_allows(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
        return AddressableMemory(image_shape, num_classes, images_per_class, num_bases=4, downsampling=1)

    def record(self: CompressThenRecall, task: int) -> None:
        held.append(tuple(part.clone() for part in self.reservoir.content()))
        original(self, task)

    held: list[tuple[Tensor, ...]] = []
    original = CompressThenRecall.end_task
    monkeypatch.setattr(CompressThenRecall, "end_task", record)
    learner = CompressThenRecall(
        memory,
        HigherUnroll(1),
        slots_per_class=1,
        reservoir_samples=5,
        protocol=PROTOCOL,
        image_shape=(1, 8, 8),
        num_classes=10,
        total_classes=10,
        num_tasks=TASKS,
        network=network,
        memory_images=TASKS * SAMPLES,
    )
    _, stream, _ = run(learner, test=False)
    for task in range(TASKS):
        images, labels = stream.task_set(task, "train")
        assert torch.equal(held[task][0], images)
        assert torch.equal(held[task][1], labels)


def test_it_goes_on_with_the_accuracies_of_a_checkpoint() -> None:
    first, second = RetainedAccuracy(), RetainedAccuracy()
    first.history = [[0.5], [0.25, 0.75]]
    second.load_state_dict(first.state_dict())
    assert second.history == first.history


def test_modules_that_learn_no_stream_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"RetainedAccuracy needs a module that learns a stream of tasks, .* LightningM"
    ):
        RetainedAccuracy().on_test_start(L.Trainer(accelerator="cpu", logger=False), L.LightningModule())
