"""Every shipped configuration builds what it says and keeps to its storage budget."""

import math
import re
from pathlib import Path

import lightning as L
import pytest
import torch

from rtp.cli import main
from rtp.datamodules import HuggingFace, ImageDataModule, TaskStream
from rtp.modules import MLP, CompressThenRecall, ConvNet, Distillation, InnerSGD, MemoryDistillation

CONFIGS = Path(__file__).parents[2] / "configs"
ELSEWHERE = {"studies", "continual", "synthesis"}  # checked in files of their own, or below
SHIPPED = sorted(path for path in CONFIGS.rglob("*.yaml") if not ELSEWHERE & set(path.parts))
STREAMS = sorted((CONFIGS / "continual").rglob("*_ctr.yaml"))
PAPERS_STREAMS = [path for path in STREAMS if path.parent.name == "continual"]
TABLE_1 = {
    *(f"{name}_ipc{images}" for name in ("mnist", "fashion_mnist", "svhn", "cifar10") for images in (1, 10, 50)),
    *("cifar100_ipc1", "cifar100_ipc10", "tiny_imagenet_ipc1"),
}


@pytest.fixture(params=SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def config(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_the_15_rows_of_table_1_are_shipped() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} - {"digits_ipc1"} == TABLE_1


def test_a_config_builds_a_memory_within_its_budget(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    # its data set need not be here: those that are used this way are CIFAR-10 and CIFAR-100
    num_classes = 100 if "cifar100" in config.stem else 10
    monkeypatch.setattr(HuggingFace, "image_shape", (3, 32, 32))
    monkeypatch.setattr(HuggingFace, "class_names", tuple(f"class {number}" for number in range(num_classes)))

    cli = main(["fit", "--config", str(config), "--run_dir", str(tmp_path / "run")])

    assert isinstance(cli.model, Distillation)
    assert isinstance(cli.datamodule, ImageDataModule)
    match = re.fullmatch(r"(?:(?:dc|dsa|dm|tm)_)?(.+)_ipc(\d+)", config.stem)
    assert match is not None
    name, images_per_class = match[1], int(match[2])
    assert cli.datamodule.name in (name, "hugging_face")
    budget = images_per_class * cli.datamodule.num_classes * math.prod(cli.datamodule.image_shape)
    assert 0.9 * budget < cli.model.memory.storage_floats <= budget
    if isinstance(cli.model, MemoryDistillation):
        assert cli.trainer.gradient_clip_val == 2 or cli.model.clip_factor == 2
    assert cli.trainer.max_steps > 0


def test_a_config_says_what_it_is_and_where_its_values_come_from(config: Path) -> None:
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 2
    if config.stem in TABLE_1 and config.parent == CONFIGS:
        assert re.search(r"Paper \(table 1, \"Ours\"\): \d\d\.\d \+- \d\.\d %", header[0])


def test_cifar10_with_one_image_a_class_recalls_115_images_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    cli = main(["fit", "--config", str(CONFIGS / "cifar10_ipc1.yaml"), "--run_dir", str(tmp_path / "run")])
    assert cli.model.memory.num_slots == 115
    assert cli.model.memory.storage_floats == 16 * 3 * 16 * 16 + 115 * 10 * 16


@pytest.fixture(params=STREAMS, ids=lambda path: str(path.relative_to(CONFIGS)))
def stream_config(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_the_streams_of_table_5_are_shipped() -> None:
    assert {path.stem.removesuffix("_ctr") for path in PAPERS_STREAMS} == {
        "rotations",
        "permutations",
        "many_permutations",
        "incremental_cifar100",
        "rotations_60000",
        "permutations_60000",
    }


def test_a_stream_has_table_5s_sizes_and_its_memories_fill_their_share(
    stream_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    monkeypatch.setattr(HuggingFace, "image_shape", (3, 32, 32))
    monkeypatch.setattr(HuggingFace, "class_names", tuple(f"class {number}" for number in range(100)))
    cli = main(["fit", "--config", str(stream_config), "--run_dir", str(tmp_path / "run")])
    learner, stream = cli.model, cli.datamodule
    assert isinstance(learner, CompressThenRecall)
    assert isinstance(stream, TaskStream)
    assert cli.trainer.max_epochs == stream.num_tasks == learner.num_tasks
    assert cli.trainer.reload_dataloaders_every_n_epochs == 1  # type: ignore[attr-defined]
    assert learner.memory_images == 10 * stream.num_tasks  # of the paper's budget, a task has 10 images
    share = learner.budget_bytes / stream.num_tasks
    assert 0.9 * share < learner.memory.storage_bytes <= share
    assert stream_config not in PAPERS_STREAMS or learner.memory.stored_as == "float32"
    num_bases, side = 24, stream.image_shape[-1] // 2
    if "permutations" in stream_config.stem:
        num_bases, side = 8, 28
    elif learner.memory.stored_as == "int8":  # the rest of the quarter of the bytes is for matrices
        num_bases *= 2
    assert (len(learner.memory.bases), learner.memory.bases.shape[-1]) == (num_bases, side)
    if stream_config in PAPERS_STREAMS:
        expected = {
            "rotations": (20, 1000, 4),
            "permutations": (20, 1000, 20),
            "many_permutations": (100, 200, 20),  # section 5.2; table 5 has 1000 samples
            "incremental_cifar100": (20, 2250, 4),  # of 2,500, which leaves a tenth for validation
            "rotations_60000": (20, None, 2),  # all but one in a hundred, for validation
            "permutations_60000": (20, None, 2),
        }
        samples = cli.config["fit"]["data"]["init_args"]["samples_per_task"]
        assert (stream.num_tasks, samples, stream.replays) == expected[stream_config.stem.removesuffix("_ctr")]
        assert stream.source.validation_fraction == (0.01 if samples is None else 0.1)
        assert stream.batch_size == 10


@pytest.mark.parametrize("path", PAPERS_STREAMS, ids=lambda path: path.stem)
def test_a_stream_of_the_paper_is_learned_with_its_networks_and_rates(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    learner = main(["fit", "--config", str(path), "--run_dir", str(tmp_path / "run")]).model
    network = learner.fresh_network(learner.num_classes)
    weights = [tuple(parameter.shape) for parameter in network.parameters() if parameter.dim() > 1]
    if "cifar100" in path.stem:
        assert isinstance(network, ConvNet)
        assert weights == [(160, 3, 3, 3), (160, 160, 3, 3), (160, 160, 3, 3), (5, 160 * 4 * 4)]
    else:
        assert isinstance(network, MLP)
        assert weights == [(256, 784), (10, 256)]
    outer = learner.configure_optimizers()
    assert isinstance(outer, torch.optim.SGD)
    assert (outer.defaults["lr"], outer.defaults["momentum"]) == (0.1, 0.5)
    assert learner.inner_optimizer == InnerSGD(learning_rate=0.01, momentum=0.9)
    # "the same setups as the inner loop"
    assert (learner.protocol.learning_rate, learner.protocol.momentum) == (0.01, 0.9)
    assert learner.protocol.epochs == learner.unroll.num_steps == 150


def test_a_streams_config_says_what_it_is(stream_config: Path) -> None:
    header = [line for line in stream_config.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 3
    if stream_config in PAPERS_STREAMS:
        assert re.search(r"Paper \((table 3, \"Ours\"|section 5.2)\): RA \d\d\.\d+ \+- \d\.\d+ %", header[1])
    else:
        assert "No published number" in header[1]
