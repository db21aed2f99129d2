from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
from rtp.datamodules.sampling import OuterBatches, Split
from rtp.errors import DataError, UserError

# lightning 2.6 asks torch 2.15 in a way that torch is going to drop
pytestmark = pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning")


class ThreeColours(ImageDataModule):
    """20 training and 4 test images of each of 3 classes."""

    class_names = ("red", "green", "blue")
    image_shape = (3, 2, 4)

    def load(self, split: Split) -> LabelledImages:
        generator = torch.Generator().manual_seed(0 if split == "train" else 1)
        labels = torch.arange(60 if split == "train" else 12) % 3
        images = torch.randint(100, (len(labels), 3, 2, 4), dtype=torch.uint8, generator=generator)
        images[torch.arange(len(labels)), labels] += 155
        return images, labels


class TestSetUnread(ThreeColours):
    __test__ = False

    def load(self, split: Split) -> LabelledImages:
        if split == "test":
            raise AssertionError("The test set was read.")
        return super().load(split)


class Recorder(LightningModule):
    """Learns nothing; keeps what the loaders gave."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.training_batches: list[Tensor] = []
        self.evaluation_labels: list[Tensor] = []

    def training_step(self, batch: LabelledImages, _: int) -> Tensor:
        self.training_batches.append(batch[0])
        return self.weight * batch[0].mean()

    def validation_step(self, batch: LabelledImages, _: int) -> None:
        self.evaluation_labels.append(batch[1])

    test_step = validation_step

    def predict_step(self, batch: Tensor, _: int) -> Tensor:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def quiet_trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        check_val_every_n_epoch=None,
        **options,
    )


def test_attributes_before_setup() -> None:
    data = ThreeColours()
    assert (data.num_classes, data.image_shape, data.name) == (3, (3, 2, 4), "three_colours")


@pytest.mark.parametrize("attribute", ["train_set", "validation_set", "test_set", "normalisation"])
def test_use_before_setup_names_the_call(attribute: str) -> None:
    stage = "test" if attribute == "test_set" else "fit"
    with pytest.raises(RuntimeError, match=rf"three_colours .* call prepare_data\(\) and setup\('{stage}'\) first"):
        getattr(ThreeColours(), attribute)


def test_split_and_normalisation_of_the_training_part_alone() -> None:
    data = ThreeColours(validation_fraction=0.2, seed=5)
    data.setup("fit")
    (train, train_labels), (validation, validation_labels) = data.train_set, data.validation_set
    assert train_labels.bincount().tolist() == [16, 16, 16]
    assert validation_labels.bincount().tolist() == [4, 4, 4]
    assert train.dtype == validation.dtype == torch.float32
    std, mean = torch.std_mean(train, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(std, torch.ones(3))
    # both parts together are the images that were loaded
    pixels = data.to_pixels(torch.cat([train, validation])) * 255
    loaded = data.load("train")[0].float()
    torch.testing.assert_close(pixels.flatten(1).sum(1).sort()[0], loaded.flatten(1).sum(1).sort()[0])


def test_seed_decides_the_split() -> None:
    splits = []
    for seed in (0, 0, 1):
        data = ThreeColours(seed=seed)
        data.setup("fit")
        splits.append(data.to_pixels(data.validation_set[0]))
    assert torch.equal(splits[0], splits[1])
    assert not torch.allclose(splits[0], splits[2])


@pytest.mark.parametrize("stage", ["fit", "validate", "predict", None])
def test_only_the_test_stage_reads_the_test_set(stage: str | None) -> None:
    TestSetUnread().setup(stage)
    with pytest.raises(AssertionError, match="The test set was read"):
        TestSetUnread().setup("test")


def test_training_set_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ThreeColours()
    data.setup("fit")
    train = data.train_set[0]
    read: list[Split] = []
    load = data.load

    def recorded(split: Split) -> LabelledImages:
        read.append(split)
        return load(split)

    monkeypatch.setattr(data, "load", recorded)
    data.setup("validate")
    data.setup("test")
    data.setup("test")
    assert read == ["test"]
    assert data.train_set[0] is train
    assert len(data.test_set[0]) == 12


def test_pixels_come_back_in_the_unit_interval() -> None:
    data = ThreeColours()
    data.setup("fit")
    images = data.load("test")[0]
    torch.testing.assert_close(data.to_pixels(data.preprocess(images)), images.float() / 255)
    pixels = data.to_pixels(100 * torch.randn(5, 3, 2, 4, dtype=torch.float64))
    assert (pixels.min().item(), pixels.max().item(), pixels.dtype) == (0, 1, torch.float32)


def test_zca_is_fitted_on_the_training_part_and_cached(tmp_path: Path) -> None:
    data = ThreeColours(zca=0.1)
    data.setup("fit")
    assert len(list((tmp_path / "cache" / "rtp").glob("zca-*.safetensors"))) == 1
    whitened = data.train_set[0].flatten(1).double()
    # the trace of W C W is the sum of E / (E + reg mean(E)) over 24 eigenvalues, one of which is 0: below 23
    assert 0.5 * 23 < (whitened.T @ whitened / len(whitened)).trace() < 23
    assert data.to_pixels(data.validation_set[0]).isfinite().all()


def test_evaluation_batches_are_in_order() -> None:
    data = ThreeColours(batch_size=5)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [len(labels) for _, labels in batches] == [5, 5, 2]
    assert torch.equal(torch.cat([images for images, _ in batches]), data.test_set[0])
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.arange(12) % 3)
    assert len(data.val_dataloader()) == 2


def test_predict_batch_holds_all_labels() -> None:
    (labels,) = ThreeColours().predict_dataloader()
    assert labels.tolist() == [0, 1, 2]


def test_outer_batches_without_trainer_are_endless() -> None:
    data = ThreeColours(real_images_per_class=4, classes_per_step=2)
    data.setup("fit")
    batches = data.train_dataloader()
    images, labels = next(iter(batches))
    assert images.shape == (8, 3, 2, 4)
    assert len(torch.unique(labels)) == 2
    with pytest.raises(TypeError, match="never end"):
        len(batches)


def test_all_stages_under_a_trainer(tmp_path: Path) -> None:
    data, module = ThreeColours(real_images_per_class=4), Recorder()
    trainer = quiet_trainer(tmp_path, max_steps=4, val_check_interval=2, enable_checkpointing=False)
    trainer.fit(module, datamodule=data)
    assert len(module.training_batches) == 4
    assert trainer.num_training_batches == 4
    trainer.test(module, datamodule=data, verbose=False)
    assert torch.equal(module.evaluation_labels[-1], torch.arange(12) % 3)
    (predicted,) = trainer.predict(module, datamodule=data) or []
    assert isinstance(predicted, Tensor)
    assert predicted.tolist() == [0, 1, 2]


def test_gradient_accumulation_and_short_epochs_take_new_batches(tmp_path: Path) -> None:
    data, module = ThreeColours(real_images_per_class=4), Recorder()
    trainer = quiet_trainer(
        tmp_path, max_steps=3, accumulate_grad_batches=2, limit_train_batches=2, limit_val_batches=0,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    batches = data.train_dataloader()
    assert len(batches) == 6
    assert len(module.training_batches) == 6
    assert all(torch.equal(a, batches.batch(step)[0]) for step, a in enumerate(module.training_batches))


def test_resumed_run_goes_on_with_the_next_batch(tmp_path: Path) -> None:
    checkpoint = tmp_path / "middle.ckpt"
    interrupted, resumed = Recorder(), Recorder()
    options: dict[str, Any] = {"limit_val_batches": 0, "enable_checkpointing": False}

    class InterruptionError(RuntimeError):
        pass

    def interrupt(trainer: Trainer) -> None:
        if trainer.global_step == 3:
            trainer.save_checkpoint(checkpoint)
            raise InterruptionError

    interrupted.on_train_batch_end = lambda *_: interrupt(interrupted.trainer)  # type: ignore[method-assign]
    with pytest.raises(InterruptionError):
        quiet_trainer(tmp_path, max_steps=5, **options).fit(interrupted, datamodule=ThreeColours())
    data = ThreeColours()
    quiet_trainer(tmp_path, max_steps=5, **options).fit(resumed, datamodule=data, ckpt_path=checkpoint)
    trained_on = interrupted.training_batches + resumed.training_batches
    assert len(resumed.training_batches) == 2
    assert len(trained_on) == 5
    batches = data.train_dataloader()
    assert all(torch.equal(a, batches.batch(step)[0]) for step, a in enumerate(trained_on))


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ThreeColours().data_root == Path("data")
    monkeypatch.setenv("RTP_DATA_DIR", str(tmp_path))
    assert ThreeColours().data_root == tmp_path
    assert ThreeColours(root="elsewhere").data_root == Path("elsewhere")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert ThreeColours(root="~/images").data_root == Path("/home/somebody/images")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_fraction": 0.0}, r"validation_fraction must lie in \(0, 1\), got 0.0"),
        ({"validation_fraction": 1.0}, r"validation_fraction must lie in \(0, 1\), got 1.0"),
        ({"real_images_per_class": 0}, "real_images_per_class must be at least 1, got 0"),
        ({"classes_per_step": 0}, "classes_per_step must be at least 1, got 0"),
        ({"zca": 0.0}, "zca must be positive, got 0.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ThreeColours(**arguments)


def test_too_many_classes_per_step_are_refused() -> None:
    data = ThreeColours(classes_per_step=4)
    data.setup("fit")
    with pytest.raises(UserError, match="classes_per_step is 4, but the data have 3 classes"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(6, 3, 2, 4), torch.arange(6) % 3, "torch.float32 images and torch.int64 labels"),
        (torch.zeros(6, 3, 2, 4).byte(), (torch.arange(6) % 3).int(), "uint8 images and torch.int32 labels"),
        (torch.zeros(6, 1, 2, 4).byte(), torch.arange(6) % 3, r"shape \(6, 1, 2, 4\) .* not \(n, 3, 2, 4\)"),
        (torch.zeros(6, 3, 2, 4).byte(), torch.arange(5) % 3, r"labels of shape \(5,\)"),
        (torch.zeros(0, 3, 2, 4).byte(), torch.arange(0), r"shape \(0, 3, 2, 4\)"),
        (torch.zeros(6, 3, 2, 4).byte(), torch.arange(6) % 4, "labels from 0 to 3, not from 0 to 2"),
        (torch.zeros(6, 3, 2, 4).byte(), torch.arange(6) % 3 - 1, "labels from -1 to 1, not from 0 to 2"),
        (torch.zeros(5, 3, 2, 4).byte(), torch.arange(5) % 3, "1 images of class 'blue', but"),
        (torch.zeros(4, 3, 2, 4).byte(), torch.arange(4) % 2, "0 images of class 'blue', but"),
    ],
)
def test_unusable_data_are_refused(
    images: Tensor, labels: Tensor, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ThreeColours()
    monkeypatch.setattr(data, "load", lambda _: (images, labels))
    with pytest.raises(DataError, match="The train split of three_colours .*" + message):
        data.setup("fit")


def test_messages_of_other_libraries_fit_on_one_line() -> None:
    assert one_line(RuntimeError("Tried a:\n  failed\n")) == "Tried a: failed"
    assert one_line(AssertionError()) == "AssertionError"


@pytest.mark.parametrize("zca", [None, 0.1])
def test_batches_are_those_of_the_normalised_training_set(zca: float | None) -> None:
    data = ThreeColours(zca=zca, real_images_per_class=5)
    data.setup("fit")
    images, labels = data.train_dataloader().batch(0)
    from_floats = OuterBatches(*data.train_set, 5, None, data.seed).batch(0)
    assert torch.equal(images, from_floats[0])
    assert torch.equal(labels, from_floats[1])


def test_images_are_kept_as_bytes() -> None:
    data = ThreeColours()
    data.setup("fit")
    data.train_dataloader().batch(0)
    assert data.num_floats == 60 * 24
    data.setup("test")
    assert all(images.dtype == torch.float32 for images, _ in [*data.val_dataloader(), *data.test_dataloader()])
    held = [value for value in vars(data).values() if isinstance(value, tuple)]
    tensors = [tensor for value in held for tensor in value if isinstance(tensor, Tensor) and tensor.dim() == 4]
    assert {tensor.dtype for tensor in tensors} == {torch.uint8}
    assert sorted(map(len, tensors)) == sorted([6, 60, len(data.test_set[1])])


class OwnValidation(ThreeColours):
    def load_validation(self) -> LabelledImages:
        images, labels = self.load("test")
        return images[:6], labels[:6]


def test_an_official_validation_split_is_used() -> None:
    data = OwnValidation()
    data.setup("fit")
    assert (len(data.train_set[1]), len(data.validation_set[1])) == (60, 6)
    assert torch.equal(data.validation_set[0], data.preprocess(data.load("test")[0][:6]))
