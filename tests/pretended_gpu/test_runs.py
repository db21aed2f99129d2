"""Whole runs on the pretended device, of every kind of module, as a user starts them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rtp.cli import main
from rtp.modules.unroll import stepwise
from rtp.modules.unroll.inner_optimizer import State
from rtp.modules.unroll.trajectory import Trajectory
from tests.pretended_gpu.device import COUNTS, GPU, pretended_gpu

CONF = Path(__file__).parents[1] / "conf"
LEARNERS = Path(__file__).parents[2] / "configs" / "continual" / "cpu" / "learners"
ON_DEVICE = (
    *("--trainer.accelerator", "pretended", "--trainer.enable_progress_bar", "false"),
    *("--trainer.strategy", "lightning.pytorch.strategies.SingleDeviceStrategy", "--trainer.strategy.device", str(GPU)),
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command: str, *options: str) -> None:
    """Run a command on the device, with something to do there."""
    with pretended_gpu():
        trainer = main([command, *options, *ON_DEVICE]).trainer
        assert trainer.strategy.root_device == GPU
        assert COUNTS["operations"] > 100


def fit(config: Path, *options: str) -> None:
    run("fit", "--config", str(config), "--run_dir", "run", *options)


@pytest.mark.parametrize("config", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_module_is_trained_continued_and_tested(config: Path) -> None:
    fit(config)
    run("test", "--ckpt_path", "run/last.ckpt")
    assert Path("run/test.json").is_file()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("addressable", ["--data.zca", "0.1"]),
        ("addressable", ["--model.memory.init", "data", "--model.memory.learned_rate", "true"]),
        ("addressable", ["--model.memory.stored_as", "int4"]),
        ("addressable", ["--model.augmentation", "SiameseAugmentation", "--trainer.deterministic", "true"]),
        ("addressable", ["--model.unroll", "SpanUnroll", "--model.unroll.num_steps", "3", "--model.network", "MLP"]),
        ("stepwise", ["--model.unroll.activation_cache_gb", "1"]),
        ("stepwise", ["--model.unroll.precision", "bf16"]),
        ("stepwise", ["--trainer.deterministic", "true"]),
        ("pixel", ["--data.validation_fraction", "0.5", "--trainer.accumulate_grad_batches", "2"]),
        ("trajectory", ["--trainer.deterministic", "true"]),
    ],
)
def test_settings_of_a_distillation(name: str, options: list[str]) -> None:
    try:
        fit(CONF / f"{name}.yaml", *options)
    finally:
        torch.use_deterministic_algorithms(False)


def test_whitened_images_stay_bytes_on_the_device() -> None:
    with pretended_gpu():
        cli = main(["fit", "--config", str(CONF / "pixel.yaml"), "--data.zca", "0.1", "--run_dir", "run", *ON_DEVICE])
        batches = cli.datamodule.train_dataloader()
        assert (batches._images.dtype, batches._images.device) == (torch.uint8, GPU)
        images, _ = batches.batch(0)
        assert (images.dtype, images.device) == (torch.float32, GPU)
        assert "train_set" not in vars(cli.datamodule)  # which is kept from its first use on


def test_a_trajectory_that_does_not_fit_is_kept_by_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: set[str] = set()

    class Watched(Trajectory):
        def push(self, theta: Tensor, residuals: State) -> None:
            super().push(theta, residuals)
            kept.update(tensor.device.type for step in self._steps for tensor in step)

    monkeypatch.setattr(stepwise, "fits", lambda *_: False)
    monkeypatch.setattr(stepwise, "Trajectory", Watched)
    fit(CONF / "stepwise.yaml")
    assert kept == {"cpu"}


@pytest.mark.parametrize("learner", sorted(LEARNERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_learner_of_a_stream(learner: Path) -> None:
    stream = CONF / "streams" / "permuted_digits.yaml"
    small = ["--model.memory_images", "30"] if "memory_images" in learner.read_text() else []
    fit(stream, "--config", str(learner), *small)
