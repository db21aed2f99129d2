"""Accuracies after each task by hand; and a learner that stores everything, which is training on the stream's data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
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
from rtp.utils.accuracy_map import accuracy_map
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


def online(heads: int = 1) -> Online:
    torch.manual_seed(0)
    return Online(
        image_shape=(1, 8, 8),
        num_classes=10,
        total_classes=10 * heads,
        num_tasks=TASKS,
        network=network,
        learning_rate=0.1,
    )


def compress_then_recall(heads: int = 1) -> CompressThenRecall:
    def memory(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
        return AddressableMemory(image_shape, num_classes, images_per_class, num_bases=4, downsampling=1)

    return CompressThenRecall(
        memory,
        HigherUnroll(1),
        slots_per_class=1,
        reservoir_samples=5,
        protocol=PROTOCOL,
        image_shape=(1, 8, 8),
        num_classes=10,
        total_classes=10 * heads,
        num_tasks=TASKS,
        network=network,
        memory_images=TASKS * SAMPLES,
    )


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at its only item until a test moves it."""
    now = [0.0]
    monkeypatch.setattr("rtp.utils.stopwatch.time.perf_counter", lambda: now[0])
    return now


class Slow(Constant):
    """Takes a second for a minibatch and, with `clock`, a hundred to classify one."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.clock = clock

    def learn(self, batch: StreamBatch) -> None:
        self.clock[0] += 1

    def predict(self, images: Tensor, task: int) -> Tensor:
        self.clock[0] += 100
        return super().predict(images, task)


def test_the_accuracies_after_each_task(run: Any, tmp_path: Path) -> None:
    evaluation, stream, trainer = run(Constant())
    expected = [[share(stream, task, "val", task + after) for task in range(after)] for after in range(1, TASKS + 1)]
    assert evaluation.history == [pytest.approx(row) for row in expected]
    assert trainer.callback_metrics["test/retained_accuracy"] == pytest.approx(
        sum(share(stream, task, "test", task + TASKS) for task in range(TASKS)) / TASKS
    )
    result = json.loads((tmp_path / "test.json").read_text())
    assert result["test_accuracies"] == [[share(stream, task, "test", task + TASKS)] for task in range(TASKS)]
    lost = [expected[-1][task] - expected[task][task] for task in range(TASKS)]
    assert sum(lost) != 0
    best = [max(expected[0][0], expected[1][0]), expected[1][1]]
    measures = {
        "backward_transfer_interference": sum(lost) / TASKS,
        "backward_transfer": (lost[0] + lost[1]) / 2,
        "forgetting": (best[0] - expected[2][0] + best[1] - expected[2][1]) / 2,
    }
    for name, value in measures.items():
        assert result[name] == pytest.approx(value)
        assert trainer.callback_metrics[f"test/{name}"] == pytest.approx(value)
    assert result["accuracy_matrix"] == evaluation.history
    assert (result["learner"], result["scenario"]) == ("Constant", "task-incremental")


def test_measures_that_do_not_apply_are_not_logged(run: Any, tmp_path: Path) -> None:
    _, _, trainer = run(KeepsEverything())
    assert {name for name in trainer.callback_metrics if name.startswith("test/")} == {"test/retained_accuracy"}
    result = json.loads((tmp_path / "test.json").read_text())
    assert result["backward_transfer"] is result["forgetting"] is result["backward_transfer_interference"] is None


def test_the_heat_map_shows_the_accuracies(run: Any, tmp_path: Path) -> None:
    evaluation, _, trainer = run(Constant(), logger=TensorBoardLogger(tmp_path, "", ""))
    expected = accuracy_map(evaluation.history)
    curves = EventAccumulator(str(tmp_path)).Reload()
    (event,) = curves.Images("val/accuracy_matrix")
    assert event.step == trainer.fit_loop.epoch_loop.global_step
    (tmp_path / "logged.png").write_bytes(event.encoded_image_string)
    for name in ("logged.png", "accuracy_matrix.png"):
        drawn = torch.from_numpy(np.array(Image.open(tmp_path / name))).permute(2, 0, 1) / 255
        torch.testing.assert_close(drawn, expected, rtol=0, atol=1.01 / 255)


def test_a_heat_map_that_cannot_be_written_does_not_end_the_run(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "accuracy_matrix.png").mkdir()
    evaluation, _, _ = run(Constant(), test=False)
    assert len(evaluation.history) == TASKS
    assert "the heat map of the accuracies is left out" in caplog.text


def test_no_validation_no_heat_map(run: Any, tmp_path: Path) -> None:
    run(online(), test=False, limit_val_batches=0)
    assert not (tmp_path / "accuracy_matrix.png").exists()


def test_seconds_of_learning_are_those_without_validation(run: Any, clock: list[float], tmp_path: Path) -> None:
    evaluation, stream, _ = run(Slow(clock))
    minibatches = sum(len(stream.pass_over(task)) for task in range(TASKS))
    tested = sum(len(stream.task_batches(task, "test")) for task in range(TASKS))
    assert (evaluation.learning_seconds, evaluation.evaluation_seconds) == (minibatches, 100 * tested)
    result = json.loads((tmp_path / "test.json").read_text())
    assert (result["learning_seconds"], result["evaluation_seconds"]) == (minibatches, 100 * tested)
    run(Slow(clock), test=False, callbacks=[evaluation])  # another run
    assert evaluation.learning_seconds == minibatches


@pytest.mark.parametrize("seconds", [10.5, None])  # None: not measured, by an earlier rtp
def test_it_goes_on_with_the_accuracies_and_the_seconds_of_a_checkpoint(
    seconds: float | None, clock: list[float]
) -> None:
    first, second = RetainedAccuracy(), RetainedAccuracy()
    state: dict[str, Any] = {"history": [[0.5], [0.25, 0.75]]} | ({} if seconds is None else {"learning_seconds": 10.5})
    first.load_state_dict(state)
    second.load_state_dict(first.state_dict())
    assert second.history == [[0.5], [0.25, 0.75]]
    learner, trainer = Constant(), L.Trainer(accelerator="cpu", logger=False, fast_dev_run=True)
    learner.finished_tasks += 2
    second.on_train_start(trainer, learner)
    clock[0] += 3
    second.on_train_end(trainer, learner)
    assert second.learning_seconds == (None if seconds is None else 13.5)
    assert second.evaluation_seconds is None  # nothing is tested yet


@pytest.mark.parametrize(
    ("learner", "heads", "scenario"),
    [
        (Online, 1, "domain-incremental"),
        (Online, TASKS, "task-incremental"),
        (CompressThenRecall, 1, "task-incremental"),
        (CompressThenRecall, TASKS, "task-incremental"),
    ],
)
def test_the_scenario_tells_whether_the_task_is_known(
    learner: type[ContinualLearner], heads: int, scenario: str
) -> None:
    assert (online if learner is Online else compress_then_recall)(heads).scenario == scenario


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
    def record(self: CompressThenRecall, task: int) -> None:
        held.append(tuple(part.clone() for part in self.reservoir.content()))
        original(self, task)

    held: list[tuple[Tensor, ...]] = []
    original = CompressThenRecall.end_task
    monkeypatch.setattr(CompressThenRecall, "end_task", record)
    learner = compress_then_recall()
    _, stream, _ = run(learner, test=False)
    for task in range(TASKS):
        images, labels = stream.task_set(task, "train")
        assert torch.equal(held[task][0], images)
        assert torch.equal(held[task][1], labels)


def test_modules_that_learn_no_stream_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"RetainedAccuracy needs a module that learns a stream of tasks, .* LightningM"
    ):
        RetainedAccuracy().on_test_start(L.Trainer(accelerator="cpu", logger=False), L.LightningModule())
