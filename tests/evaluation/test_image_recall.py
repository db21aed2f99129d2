"""Few-shot test tasks, on data where the right answer is known, and the memory that the baseline recalls from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from rtp.artefact import Description, DistilledMemory, Protocol
from rtp.artefact.loaded import assemble
from rtp.callbacks import RetrainingEvaluation
from rtp.datamodules import ImageDataModule
from rtp.datamodules.normalisation import Normalisation, Standardisation
from rtp.datamodules.sampling import Split
from rtp.errors import UserError
from rtp.evaluation.base import EvaluationSettings, OnEpoch
from rtp.evaluation.image_recall import ImageRecallEvaluator, label_memory
from rtp.modules import HigherUnroll, ImageAddressedDistillation, ImageAddressing
from rtp.modules.distillation.image_distillation import FewShot
from rtp.modules.networks.training import TrainingProtocol, train_networks

PROTOCOL = TrainingProtocol(epochs=20, learning_rate=0.1)


class Spots(ImageDataModule):
    """Six classes: pixel number c is bright in class c."""

    class_names = tuple("abcdef")
    image_shape = (1, 4, 4)

    def load(self, split: Split) -> tuple[Tensor, Tensor]:
        labels = torch.arange(180) % 6
        images = torch.zeros(180, 1, 16, dtype=torch.uint8)
        images[torch.arange(180), 0, labels] = 255
        return images.view(180, 1, 4, 4), labels


class Linear(nn.Sequential):
    """Starts at 0: what it has not seen is of the first class."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, num_classes))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def identity(image_shape: tuple[int, int, int], query_dim: int) -> nn.Module:
    return nn.Flatten()


def module(right: bool, few_shot: FewShot) -> ImageAddressedDistillation:
    """A memory that recalls just the image that it is shown, or nothing."""

    def memory(shape: tuple[int, int, int], classes: int) -> ImageAddressing:
        built = ImageAddressing(shape, classes, identity, 16, num_bases=16, num_slots=1, downsampling=1)
        with torch.no_grad():
            built.bases.copy_(torch.eye(16).view(16, 1, 4, 4) * right)
            built.addressing.copy_(torch.eye(16)[None])
        return built

    return ImageAddressedDistillation((1, 4, 4), 6, memory, Linear, HigherUnroll(1), 1, shots=(1,), few_shot=few_shot)


def trainer(folder: Path, **settings: Any) -> L.Trainer:
    return L.Trainer(
        callbacks=[RetrainingEvaluation(protocol=PROTOCOL, **settings)],
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        inference_mode=False,
        max_epochs=1,
        accelerator="cpu",
    )


def labelled(data: ImageDataModule, normalisation: Normalisation | None = None, **changes: Any) -> DistilledMemory:
    """A memory that recalls two perfect images of each class."""
    entries: dict[str, Any] = {
        "kind": "pixel",
        "stored_as": "float32",
        "image_shape": (1, 4, 4),
        "downsampling": 1,
        "class_names": tuple("abcdef"),
        "num_slots": 2,
        "zca_reg": None,
        "dataset": "spots",
        "steps": 1,
        "protocol": Protocol(1, 7, 640, 0.2, 0.5, "Linear()", None),
        "accuracies": (),
        "config": {},
        "rtp_version": "0.1.0",
    }
    images = torch.zeros(12, 16)
    images[torch.arange(12), torch.arange(6).repeat_interleave(2)] = 255
    stored = data.preprocess(images.view(12, 1, 4, 4).byte())
    return assemble(Description(**(entries | changes)), {"images": stored}, normalisation or data.normalisation)


@pytest.fixture
def data() -> Spots:
    built = Spots()
    built.setup("fit")
    return built


def test_all_methods_are_right_where_the_classes_are_plain(tmp_path: Path, data: Spots) -> None:
    path = tmp_path / "labelled.safetensors"
    labelled(data).save(path)
    runner = trainer(tmp_path, networks=4, validation_networks=2, baselines=True, real_epochs=10)
    built = module(True, FewShot(3, (1, 5), str(path)))
    (metrics,) = runner.test(built, datamodule=Spots(), verbose=False)
    assert metrics["test/accuracy"] == 1
    rows = json.loads((tmp_path / "test.json").read_text())["results"]
    classifier = 16 * 6 + 6
    assert [(row["training_set"], row["images"], row["storage_floats"], row["epochs"]) for row in rows] == [
        ("3-way 1-shot image addressing", 3, 16 * 16 * 2, 20),
        ("3-way 1-shot classify-then-recall", 6, 192 + classifier, 7),
        ("3-way 1-shot nearest neighbour", 3, classifier, 10),
        ("3-way 5-shot image addressing", 15, 16 * 16 * 2, 20),
        ("3-way 5-shot classify-then-recall", 6, 192 + classifier, 7),
        ("3-way 5-shot nearest neighbour", 15, classifier, 10),
    ]
    assert [row["accuracy_mean"] for row in rows] == [1] * 6
    assert [row["networks"] for row in rows] == [4] * 6


def test_each_training_has_its_own_protocol_and_the_bar_counts_all_epochs(
    tmp_path: Path, data: Spots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(trainees: Any, protocol: TrainingProtocol, *arguments: Any, **named: Any) -> Any:
        used.append((len(trainees), protocol))
        return original(trainees, protocol, *arguments, **named)

    used: list[tuple[int, TrainingProtocol]] = []
    original = train_networks
    monkeypatch.setattr("rtp.evaluation.image_recall.train_networks", record)
    monkeypatch.setattr("rtp.evaluation.tasks.train_networks", record)
    path = tmp_path / "labelled.safetensors"
    labelled(data).save(path)
    settings = EvaluationSettings(networks=4, protocol=PROTOCOL, baselines=True, real_epochs=10, real_learning_rate=0.3)
    steps: list[None] = []
    totals: list[int] = []

    @contextmanager
    def progress(epochs: int) -> Iterator[OnEpoch]:
        totals.append(epochs)
        yield lambda: steps.append(None)

    data.setup("test")
    ImageRecallEvaluator(settings).results(module(True, FewShot(3, (1,), str(path))), data, "test", progress)
    classifier = replace(PROTOCOL, epochs=10, learning_rate=0.3)
    assert used == [(1, classifier), (4, PROTOCOL), (4, TrainingProtocol(7, 640, 0.2, 0.5))]
    assert [len(steps)] == totals == [10 + 4 * 20 + 4 * 7]


def test_a_memory_that_recalls_nothing_is_at_chance(tmp_path: Path) -> None:
    runner = trainer(tmp_path, networks=4, validation_networks=3)
    built = module(False, FewShot(3, (2, 1)))
    runner.test(built, datamodule=Spots(), verbose=False)
    results = runner.callbacks[0].results  # type: ignore[attr-defined]
    assert [r.training_set for r in results] == ["3-way 2-shot image addressing", "3-way 1-shot image addressing"]
    assert [r.mean for r in results] == pytest.approx([1 / 3, 1 / 3])
    (metrics,) = runner.validate(built, datamodule=Spots(), verbose=False)
    assert metrics["val/accuracy"] == pytest.approx(1 / 3)
    (result,) = runner.callbacks[0].results  # type: ignore[attr-defined]
    assert (result.training_set, len(result.accuracies)) == ("3-way 2-shot image addressing", 3)


def test_shots_that_leave_nothing_to_test_on_are_refused(tmp_path: Path) -> None:
    runner = trainer(tmp_path, networks=2, validation_networks=2)
    with pytest.raises(UserError, match=r"3 shots do not fit: class 0 has 3 images"):  # a tenth of 30
        runner.validate(module(True, FewShot(3, (3,))), datamodule=Spots(), verbose=False)
    with pytest.raises(UserError, match=r"30 shots do not fit: class 0 has 30 images"):
        runner.test(module(True, FewShot(3, (1, 30))), datamodule=Spots(), verbose=False)


@pytest.mark.parametrize(
    ("real_images_per_class", "message"),
    [
        (1, r"1 shots leave no image of a class for the outer loss: real_images_per_class is 1, set it above 1"),
        (28, r"class 0 has 27 images, fewer than real_images_per_class=28: set it to 27 or less"),
    ],
)
def test_batches_in_which_shots_and_outer_images_meet_are_refused(
    tmp_path: Path, real_images_per_class: int, message: str
) -> None:
    runner = trainer(tmp_path, networks=2, validation_networks=2)
    with pytest.raises(UserError, match=message):
        runner.fit(module(True, FewShot(3, (1,))), datamodule=Spots(real_images_per_class=real_images_per_class))


def test_a_memory_of_other_images_is_refused(tmp_path: Path, data: Spots) -> None:
    ones = torch.ones(1, dtype=torch.float64)
    labelled(data, Standardisation(0 * ones, ones)).save(tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match=r"plain.safetensors are normalised in another way than the data set's: learn"):
        label_memory(tmp_path / "plain.safetensors", data)
    labelled(data, class_names=tuple("abcdeg")).save(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other.safetensors is of spots, not of spots: give a memory of these classes"):
        label_memory(tmp_path / "other.safetensors", data)
