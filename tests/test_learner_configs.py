"""The learners' configurations go with each of the streams, which are files of their own."""

from itertools import cycle
from pathlib import Path

import lightning as L
import pytest

from rtp.cli import main
from rtp.datamodules import MNIST, TaskStream
from rtp.modules import MLP, ContinualLearner

FOLDER = Path(__file__).parents[1] / "configs" / "continual" / "cpu"
STREAMS, LEARNERS = (sorted((FOLDER / kind).glob("*.yaml")) for kind in ("streams", "learners"))


def test_the_learners_of_table_3_are_shipped() -> None:
    online = {"online", "ewc", "gem", "mer", "cmaml", "lamaml"}
    assert {path.stem for path in LEARNERS} == online | {"er", "multitask"}
    assert {path.stem for path in STREAMS} == {"permutations", "rotations"}


@pytest.mark.parametrize(
    ("learner", "stream"), [*zip(LEARNERS, cycle(STREAMS), strict=False)], ids=lambda path: path.stem
)
def test_a_learner_gets_ten_images_a_task(
    learner: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    cli = main(["fit", "--config", str(stream), "--config", str(learner)])
    assert isinstance(cli.model, ContinualLearner)
    assert isinstance(cli.datamodule, TaskStream)
    assert isinstance(cli.datamodule.source, MNIST)
    assert cli.model.num_tasks == cli.datamodule.num_tasks == cli.trainer.max_epochs == 5
    assert cli.model.memory_images == (0 if learner.stem in ("online", "multitask") else 50)
    assert isinstance(cli.model.fresh_network(10), MLP)
    assert Path(cli.trainer.default_root_dir) == Path("logs") / f"{stream.stem}_{learner.stem}" / "0"


@pytest.mark.parametrize("config", [*STREAMS, *LEARNERS], ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_where_its_values_come_from(config: Path) -> None:
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 2
    assert "ublished" in " ".join(header)
