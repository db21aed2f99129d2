"""Evaluation by retraining on data where the right answer is known."""

import json
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from rtp.callbacks import RetrainingEvaluation
from rtp.datamodules import ImageDataModule
from rtp.datamodules.sampling import Batches, Split
from rtp.errors import UserError
from rtp.evaluation.base import EvaluatedSplit, Evaluator, Progress, no_progress
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import evaluator_of
from rtp.modules import (
    Augmentation,
    Distillation,
    HigherUnroll,
    ImageAddressedDistillation,
    MemoryDistillation,
    PixelMemory,
    TaskDistillation,
)
from rtp.modules.networks.training import TrainingProtocol

PROTOCOL = TrainingProtocol(epochs=30, learning_rate=0.1)


class Halves(ImageDataModule):
    """Two classes: the upper or the lower half is bright. In the test set one image in four is mislabelled."""

    class_names = ("upper", "lower")
    image_shape = (1, 4, 4)

    def load(self, split: Split) -> tuple[Tensor, Tensor]:
        labels = torch.arange(40) % 2
        images = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
        images[labels == 0, :, :2] = 255
        images[labels == 1, :, 2:] = 255
        if split == "test":
            labels = torch.where(torch.arange(40) < 10, 1 - labels, labels)
        return images, labels


class Linear(nn.Sequential):
    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, num_classes))


class Deaf(nn.Module):
    """Answers the first class whatever it sees."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]) + 0 * self.bias + images.new_zeros(len(images), 1)


def module(cls: type[MemoryDistillation] = MemoryDistillation) -> MemoryDistillation:
    """A memory that holds one perfect image of each class."""
    built = cls((1, 4, 4), 2, lambda shape, classes: PixelMemory(shape, classes, 1), Linear, HigherUnroll(1), 1)
    with torch.no_grad():
        built.memory.bases[0, :, :2], built.memory.bases[0, :, 2:] = 1, -1
        built.memory.bases[1, :, :2], built.memory.bases[1, :, 2:] = -1, 1
    return built


def trainer(folder: Path, callback: RetrainingEvaluation) -> L.Trainer:
    return L.Trainer(
        callbacks=[callback],
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        inference_mode=False,
        accelerator="cpu",
    )


def test_validation_measures_networks_trained_on_the_memory(tmp_path: Path) -> None:
    runner = trainer(tmp_path, RetrainingEvaluation(validation_networks=2, protocol=PROTOCOL))
    (metrics,) = runner.validate(module(), datamodule=Halves(batch_size=3), verbose=False)
    assert metrics == {"val/accuracy": 1.0, "val/accuracy_std": 0.0}


def test_test_measures_every_architecture_on_every_training_set(tmp_path: Path) -> None:
    callback = RetrainingEvaluation(
        networks=2,
        validation_networks=1,
        protocol=PROTOCOL,
        architectures=[Linear, Deaf],
        baselines=True,
        real_epochs=20,
    )
    (metrics,) = trainer(tmp_path, callback).test(module(), datamodule=Halves(batch_size=7), verbose=False)

    assert metrics["test/accuracy"] == pytest.approx(0.75)  # a quarter of the test labels are wrong
    assert metrics["test/distilled_Deaf"] == pytest.approx(0.5)
    content = json.loads((tmp_path / "test.json").read_text())
    assert [(row["training_set"], row["architecture"]) for row in content["results"]] == [
        (training_set, architecture)
        for training_set in ("distilled", "random real", "herding", "class means", "all real")
        for architecture in ("Linear", "Deaf")
    ]
    rows = distilled, _, _, class_means, all_real = content["results"][::2]
    assert [row["images"] for row in rows] == [2, 2, 2, 2, 36]
    assert [row["storage_floats"] for row in rows] == [32, 32, 32, 32, 36 * 16]
    assert [row["storage_bytes"] for row in rows] == [4 * 32, 32, 32, 4 * 32, 36 * 16]
    assert [row["epochs"] for row in rows] == [30, 30, 30, 30, 20]
    assert class_means["accuracy_mean"] == pytest.approx(0.75)
    assert distilled["storage_percent"] == pytest.approx(100 * 2 / 40)
    assert all_real["accuracy_mean"] == pytest.approx(0.75)


def test_its_random_numbers_are_its_own_and_the_same_every_time(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Recorded(Linear):
        def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
            super().__init__(image_shape, num_classes)
            seen.append(next(self.parameters()).detach().clone())

    callback = RetrainingEvaluation(networks=2, validation_networks=1, protocol=PROTOCOL, architectures=[Recorded])
    built, data = module(), Halves()
    runner = trainer(tmp_path, callback)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    runner.test(built, datamodule=data, verbose=False)
    assert torch.equal(torch.rand(1), expected)
    runner.test(built, datamodule=data, verbose=False)
    first, second, again, _ = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_network_has_its_own_random_numbers(tmp_path: Path) -> None:
    def trained(count: int, vmapped: bool | None) -> list[Tensor]:
        networks: list[nn.Module] = []

        class Recorded(Linear):
            def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
                super().__init__(image_shape, num_classes)
                networks.append(self)

        callback = RetrainingEvaluation(
            networks=count,
            validation_networks=1,
            protocol=PROTOCOL,
            architectures=[Linear, Recorded],
            baselines=True,
            real_epochs=2,
            vmapped=vmapped,
        )
        trainer(tmp_path, callback).test(module(), datamodule=Halves(), verbose=False)
        return [next(network.parameters()).detach() for network in networks]

    few, many = trained(2, vmapped=False), trained(3, vmapped=True)  # for five training sets
    assert len({tuple(weight.flatten().tolist()) for weight in many}) == 15
    for training_set in range(5):
        for number in range(2):
            torch.testing.assert_close(many[3 * training_set + number], few[2 * training_set + number])


def test_a_module_without_a_memory_is_refused(tmp_path: Path) -> None:
    class Other(L.LightningModule):
        def validation_step(self, batch: object, batch_idx: int) -> None:
            raise AssertionError("never reached")

    with pytest.raises(UserError, match="needs a module with a memory, such as MemoryDistillation, got Other"):
        trainer(tmp_path, RetrainingEvaluation()).validate(Other(), datamodule=Halves(), verbose=False)


def test_data_of_another_kind_are_refused(tmp_path: Path) -> None:
    class Other(L.LightningDataModule):
        def val_dataloader(self) -> Batches[tuple[Tensor, Tensor]]:
            return Batches([(torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.long))])

    with pytest.raises(UserError, match="needs an ImageDataModule, got Other"):
        trainer(tmp_path, RetrainingEvaluation(protocol=PROTOCOL)).validate(module(), datamodule=Other(), verbose=False)


@dataclass(frozen=True)
class UpsideDown(Augmentation):
    """Turns what the networks learn into its opposite."""

    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(num, device=device)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return images.flip(2)


def test_the_augmentation_of_the_settings_overrides_the_module_s(tmp_path: Path) -> None:
    callback = RetrainingEvaluation(validation_networks=2, protocol=PROTOCOL, augmentation=UpsideDown())
    (metrics,) = trainer(tmp_path, callback).validate(module(), datamodule=Halves(), verbose=False)
    assert metrics["val/accuracy"] == 0


class OwnModule(MemoryDistillation):
    """What a user writes who wants the usual evaluation."""


class ModuleWithEvaluator(MemoryDistillation):
    """What a user writes who wants another one."""


class CountingEvaluator(Evaluator[ModuleWithEvaluator]):
    """Measures nothing."""

    def results(
        self,
        module: ModuleWithEvaluator,
        data: ImageDataModule,
        split: EvaluatedSplit,
        progress: Progress = no_progress,
    ) -> list[Result]:
        return [Result("own", "none", (0.25,), 1, self.num_networks(split), 1, 1, 1.0, 1, 8)]


@evaluator_of.register
def _(module: ModuleWithEvaluator) -> type[CountingEvaluator]:
    return CountingEvaluator


def test_a_module_of_one_s_own_inherits_the_default_evaluator_or_registers_its_own(tmp_path: Path) -> None:
    callback = RetrainingEvaluation(networks=4, validation_networks=2, protocol=PROTOCOL)
    runner = trainer(tmp_path, callback)
    (metrics,) = runner.validate(module(OwnModule), datamodule=Halves(), verbose=False)
    assert metrics == {"val/accuracy": 1.0, "val/accuracy_std": 0.0}
    (metrics,) = runner.validate(module(ModuleWithEvaluator), datamodule=Halves(), verbose=False)
    assert (metrics["val/accuracy"], callback.results[0].images) == (0.25, 2)
    (metrics,) = runner.test(module(ModuleWithEvaluator), datamodule=Halves(), verbose=False)
    assert metrics["test/own_none"] == metrics["test/accuracy"] == 0.25
    assert json.loads((tmp_path / "test.json").read_text())["images"] == 4


def test_the_evaluators_of_rtp_are_registered() -> None:
    registered = [evaluator_of.dispatch(cls) for cls in (TaskDistillation, ImageAddressedDistillation)]
    assert len({*registered, evaluator_of.dispatch(Distillation)}) == 3


def test_a_batch_size_changes_no_number(tmp_path: Path) -> None:
    found = []
    for batch_size in (3, 1000):
        callback = RetrainingEvaluation(networks=3, protocol=PROTOCOL)
        trainer(tmp_path, callback).test(module(), datamodule=Halves(batch_size=batch_size), verbose=False)
        found.append(callback.results)
    assert found[0] == found[1]
