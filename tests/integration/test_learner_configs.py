"""The learners' configurations go with each of the streams, which are files of their own."""

from pathlib import Path

import lightning as L
import pytest
import torch

from rtp.cli import main
from rtp.datamodules import MNIST, HuggingFace, TaskStream
from rtp.modules import MLP, ContinualLearner, ConvNet

FOLDER = Path(__file__).parents[2] / "configs" / "continual" / "cpu"
STREAMS, LEARNERS = (sorted((FOLDER / kind).glob("*.yaml")) for kind in ("streams", "learners"))


def test_the_learners_of_table_3_and_later_ones_are_shipped() -> None:
    online = {"online", "ewc", "gem", "mer", "cmaml", "lamaml"}
    later = {"agem", "derpp", "er_ace", "gdumb", "sparse_lamaml", "stable_sgd"}
    assert {path.stem for path in LEARNERS} == online | {"er", "multitask"} | later
    assert {path.stem for path in STREAMS} == {
        "permutations",
        "rotations",
        "many_permutations",
        "incremental_cifar100",
    }


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("learner", LEARNERS, ids=lambda path: path.stem)
def test_a_learner_gets_ten_images_a_task(
    learner: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    # its data set need not be here
    monkeypatch.setattr(HuggingFace, "image_shape", (3, 32, 32))
    monkeypatch.setattr(HuggingFace, "class_names", tuple(f"class {number}" for number in range(100)))
    monkeypatch.chdir(tmp_path)
    keeps_images = learner.stem not in ("online", "multitask", "stable_sgd")
    coloured = "cifar100" in stream.stem
    tasks = 100 if stream.stem == "many_permutations" else 5
    options = ["--model.network", "ConvNet", "--model.network.width", "16"] if coloured else []  # as the headers say
    options += ["--model.memory_images", "1000"] if tasks == 100 and keeps_images else []
    cli = main(["fit", "--config", str(stream), "--config", str(learner), *options])
    assert isinstance(cli.model, ContinualLearner)
    assert isinstance(cli.datamodule, TaskStream)
    assert isinstance(cli.datamodule.source, HuggingFace if coloured else MNIST)
    assert cli.model.num_tasks == cli.datamodule.num_tasks == cli.trainer.max_epochs == tasks
    assert cli.model.memory_images == (10 * tasks if keeps_images else 0)
    network = cli.model.fresh_network(cli.datamodule.total_classes)
    assert isinstance(network, ConvNet if coloured else MLP)
    logits = network(torch.zeros(2, *cli.datamodule.image_shape))
    assert logits.shape == (2, 25 if coloured else 10)
    assert next(network.parameters()).shape[0] == (16 if coloured else 256)
    assert Path(cli.trainer.default_root_dir) == Path("logs") / f"{stream.stem}_{learner.stem}" / "0"


@pytest.mark.parametrize("config", [*STREAMS, *LEARNERS], ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_where_its_values_come_from(config: Path) -> None:
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 2
    assert "ublished" in " ".join(header)
