"""Every configuration of section 5.3 builds what it says."""

import math
from pathlib import Path

import lightning as L
import pytest

from rtp.cli import main
from rtp.datamodules import HuggingFace
from rtp.modules import ImageAddressedDistillation, ImageAddressedMemory, TaskDistillation

CONFIGS = Path(__file__).parents[2] / "configs" / "synthesis"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    # its data set need not be here
    monkeypatch.setattr(HuggingFace, "image_shape", (3, 32, 32))
    monkeypatch.setattr(HuggingFace, "class_names", tuple(f"class {number}" for number in range(100)))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_config_builds_a_memory_and_test_tasks(path: Path, tmp_path: Path) -> None:
    cli = main(["fit", "--config", str(path), "--run_dir", str(tmp_path / "run")])
    model, data = cli.model, cli.datamodule
    if path.stem.endswith("_tasks"):
        assert isinstance(model, TaskDistillation)
        classes_per_task = 5 if "cifar100" in path.stem else 2
        assert {len(task) for task in model.memory.tasks} == {classes_per_task}
        assert model.extrapolation.ways == (5, 2)
        every = cli.config.fit.trainer.log_every_n_steps
        assert math.gcd(len(model.memory.tasks), every) == 1  # the curve shows all tasks
        budget = data.num_classes * data.image_shape[0] * data.image_shape[1] * data.image_shape[2]
        assert 0.9 * budget < model.memory.storage_floats <= budget  # 1 image a class
    else:
        assert isinstance(model, ImageAddressedDistillation)
        assert isinstance(model.memory, ImageAddressedMemory)
        assert data.classes_per_step == model.few_shot.ways == 5
        assert data.real_images_per_class > max(model.shots) == max(model.few_shot.shots)
        assert set(model.few_shot.shots) == {1, 5} >= set(model.shots)
    assert cli.trainer.gradient_clip_val == 2
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 4
    assert ("Paper (" in "".join(header)) == (path.parent == CONFIGS and "cifar100" in path.stem)


def test_the_paper_s_numbers(tmp_path: Path) -> None:
    tasks = main(["fit", "--config", str(CONFIGS / "cifar100_tasks.yaml"), "--run_dir", str(tmp_path / "a")]).model
    assert len(tasks.memory.tasks) == 20
    assert tasks.memory.num_slots == 230
    images = main(["fit", "--config", str(CONFIGS / "cifar100_images.yaml"), "--run_dir", str(tmp_path / "b")]).model
    assert (len(images.memory.bases), images.memory.num_slots) == (64, 16)
