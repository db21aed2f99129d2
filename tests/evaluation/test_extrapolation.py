"""Evaluation tasks across class sets, on data where the right answer is known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from rtp.callbacks import RetrainingEvaluation
from rtp.datamodules import ImageDataModule
from rtp.datamodules.sampling import Split
from rtp.errors import UserError
from rtp.evaluation.base import EvaluatedSplit, EvaluationSettings
from rtp.evaluation.extrapolation import ExtrapolationEvaluator
from rtp.evaluation.results import Result
from rtp.evaluation.tasks import task_accuracies
from rtp.modules import HigherUnroll, PixelMemory, TaskDistillation
from rtp.modules.distillation.task_distillation import Extrapolation
from rtp.modules.networks.training import TrainingProtocol

PROTOCOL = TrainingProtocol(epochs=20, learning_rate=0.1)


class Spots(ImageDataModule):
    """Six classes: pixel number c is bright in class c."""

    class_names = tuple("abcdef")
    image_shape = (1, 4, 4)

    def load(self, split: Split) -> tuple[Tensor, Tensor]:
        labels = torch.arange(60) % 6
        images = torch.zeros(60, 1, 16, dtype=torch.uint8)
        images[torch.arange(60), 0, labels] = 255
        return images.view(60, 1, 4, 4), labels


class Linear(nn.Sequential):
    """Starts at 0: what it has not seen is of the first class."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, num_classes))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def module(right: bool, **changes: Any) -> TaskDistillation:
    """Memories of three tasks that hold a perfect image of each class, or nothing."""
    built = TaskDistillation(
        (1, 4, 4),
        6,
        lambda shape, classes: PixelMemory(shape, classes, 1),
        Linear,
        HigherUnroll(1),
        1,
        classes_per_task=2,
        task_seed=1,
        extrapolation=Extrapolation((3, 2), upper_bound_tasks=2, chunk_size=4),
        **changes,
    )
    with torch.no_grad():
        for task, classes in enumerate(built.memory.tasks):
            for place, label in enumerate(classes):
                image = built.memory.of_task(task).bases[place]
                image.zero_()
                image.view(-1)[label] = float(right)
    return built


def trainer(folder: Path, **settings: Any) -> L.Trainer:
    return L.Trainer(
        callbacks=[RetrainingEvaluation(protocol=PROTOCOL, **settings)],
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        inference_mode=False,
        accelerator="cpu",
    )


def results(built: TaskDistillation, split: EvaluatedSplit, **settings: Any) -> list[Result]:
    data = Spots()
    data.setup("test")
    return ExtrapolationEvaluator(EvaluationSettings(protocol=PROTOCOL, **settings)).results(built, data, split)


def test_the_upper_bound_has_minibatches_and_a_learning_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(tasks: Any, network: Any, protocol: TrainingProtocol, *arguments: Any) -> list[float]:
        used.append(protocol)
        return original(tasks, network, protocol, *arguments)

    used: list[TrainingProtocol] = []
    original = task_accuracies
    monkeypatch.setattr("rtp.evaluation.tasks.task_accuracies", record)
    results(
        module(right=True),
        "test",
        networks=2,
        baselines=True,
        real_epochs=3,
        real_batch_size=5,
        real_learning_rate=0.2,
    )
    assert used == [PROTOCOL, replace(PROTOCOL, epochs=3, batch_size=5, learning_rate=0.2)] * 2


@pytest.mark.parametrize("vmapped", [False, True])
def test_right_memories_give_right_classifiers_of_classes_never_seen_together(tmp_path: Path, vmapped: bool) -> None:
    runner = trainer(tmp_path, networks=9, baselines=True, real_epochs=3, vmapped=vmapped)
    torch.manual_seed(3)
    expected = torch.rand(1)
    built = module(right=True)
    torch.manual_seed(3)
    (metrics,) = runner.test(built, datamodule=Spots(), verbose=False)
    assert torch.equal(torch.rand(1), expected)  # its random numbers are its own
    assert metrics["test/accuracy"] == 1
    rows = json.loads((tmp_path / "test.json").read_text())["results"]
    assert [(row["training_set"], row["networks"], row["images"], row["epochs"]) for row in rows] == [
        ("3-way recalled", 9, 3, 20),
        ("3-way all real", 2, 27, 3),
        ("2-way recalled", 9, 2, 20),
        ("2-way all real", 2, 18, 3),
    ]
    assert [row["accuracy_mean"] for row in rows] == [1, 1, 1, 1]
    assert [row["storage_floats"] for row in rows] == [96, 54 * 16] * 2
    assert rows[0]["storage_percent"] == pytest.approx(10)
    assert rows[0]["architecture"] == "Linear"


def test_empty_memories_give_classifiers_at_chance() -> None:
    found = results(module(right=False), "test", networks=5)
    assert [result.mean for result in found] == pytest.approx([1 / 3, 1 / 2])
    assert [result.std for result in found] == [0, 0]


def test_validation_measures_the_first_kind_of_task_on_the_validation_split(tmp_path: Path) -> None:
    runner = trainer(tmp_path, validation_networks=4, baselines=True, architectures=[Linear, Linear])
    (metrics,) = runner.validate(module(right=False), datamodule=Spots(), verbose=False)
    assert metrics == {"val/accuracy": pytest.approx(1 / 3), "val/accuracy_std": 0}
    (result,) = runner.callbacks[0].results  # type: ignore[attr-defined]
    assert len(result.accuracies) == 4


def test_an_evaluation_on_other_architectures_has_a_row_for_each() -> None:
    class Other(Linear):
        pass

    found = results(module(right=True), "test", networks=2, architectures=[Linear, Other])
    rows = [(result.training_set, result.architecture) for result in found]
    assert rows == [(f"{k}-way recalled", name) for k in (3, 2) for name in ("Linear", "Other")]


def test_a_test_set_without_a_class_is_refused(tmp_path: Path) -> None:
    class Lacking(Spots):
        def load(self, split: Split) -> tuple[Tensor, Tensor]:
            images, labels = super().load(split)
            return (images[labels != 4], labels[labels != 4]) if split == "test" else (images, labels)

    runner = trainer(tmp_path, networks=2)
    with pytest.raises(UserError, match=r"the test split has no image of class e: test tasks take any class"):
        runner.test(module(right=True), datamodule=Lacking(), verbose=False)


def test_fewer_tasks_are_the_first_ones() -> None:
    def found(count: int, chunk_size: int) -> tuple[float, ...]:
        built = module(right=True)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for task in range(3):  # some test tasks fail, others do not
                built.memory.of_task(task).bases.normal_(generator=generator)
        object.__setattr__(built.extrapolation, "chunk_size", chunk_size)
        return results(built, "test", networks=count)[1].accuracies

    many = found(12, 5)
    assert 0 < sum(many) / 12 < 1
    assert len(set(many)) > 1
    assert found(4, 1) == many[:4]
