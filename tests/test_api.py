"""`rtp.distill`, and the lines of the README that show it."""

import json
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

import rtp
from rtp.api import suitable_depth, suitable_downsampling
from rtp.cli import main
from rtp.errors import UserError
from rtp.modules import MLP, FlipOrRotate
from rtp.modules.networks.training import TrainingProtocol

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def digits() -> Dataset[Any]:
    data = load_digits()
    return TensorDataset(torch.from_numpy(data.images / 16).float()[:, None], torch.from_numpy(data.target))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtp.api.PROTOCOL", TrainingProtocol(epochs=2))


def distill(dataset: Dataset[Any], **settings: Any) -> Any:
    quick: dict[str, Any] = {"steps": 2, "inner_steps": 2, "accelerator": "cpu", "progress": False}
    return rtp.distill(dataset, 1, **quick | settings)


def test_what_comes_back_is_what_load_opens(digits: Dataset[Any], tmp_path: Path) -> None:
    memory = distill(digits, run_dir=tmp_path / "run")
    assert (memory.num_classes, memory.images_per_class, memory.storage_floats) == (10, 6, 608)
    assert memory.class_names == tuple("0123456789")
    assert [accuracy.split for accuracy in memory.accuracies] == ["validation"]
    assert memory.protocol.architecture == "ConvNet(width=32, depth=1)"
    loaded = rtp.load(tmp_path / "run" / "memory.safetensors")
    labels = torch.arange(10)
    assert torch.equal(loaded.recall(labels), memory.recall(labels))
    raw = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(loaded.preprocess(raw), memory.preprocess(raw))
    assert loaded.description == memory.description
    assert loaded.description.dataset == "tensordataset"
    best = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)
    assert best["global_step"] == memory.description.steps
    assert all(torch.equal(best["state_dict"][f"memory.{n}"], v) for n, v in memory.memory.state_dict().items())
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"best.ckpt", "last.ckpt", "memory.safetensors", "recalled.png"} <= left
    assert any(name.startswith("events.out.tfevents") for name in left)


def test_its_file_is_tested_on_a_data_set_with_a_name(
    digits: Dataset[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    distill(digits, run_dir="run")
    command = ["test", "--memory", "run/memory.safetensors"]
    with pytest.raises(UserError, match="a program's own data set: name one, as with --data MNIST"):
        main(command)
    cli = main([*command, "--data", "Digits", "--evaluation.networks=1"])
    assert cli.datamodule.name == "digits"


def test_the_command_line_tests_the_file_on_a_data_module(digits: Dataset[Any], tmp_path: Path) -> None:
    distill(digits).save(tmp_path / "digits.safetensors")
    options = shlex.split("--data Digits --evaluation.networks 1 --trainer.enable_progress_bar false")
    main(["test", "--memory", str(tmp_path / "digits.safetensors"), "--run_dir", str(tmp_path / "test"), *options])
    tested = json.loads((tmp_path / "test" / "test.json").read_text())
    assert (tested["dataset"], tested["storage_floats"], tested["storage_bytes"]) == ("digits", 608, 2432)


def test_nothing_is_kept_and_the_program_s_random_numbers_are_its_own(
    digits: Dataset[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = distill(digits)
    assert torch.equal(torch.rand(1), expected)
    again, other = distill(digits), distill(digits, seed=1)
    assert torch.equal(first.memory.bases, again.memory.bases)
    assert not torch.equal(first.memory.bases, other.memory.bases)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_every_argument_arrives(digits: Dataset[Any]) -> None:
    memory = distill(
        digits,
        num_bases=4,
        network=partial(MLP, hidden_width=16),
        augmentation=FlipOrRotate(10),
        zca=0.1,
        class_names=list("abcdefghij"),
        classes_per_step=5,
        validation=0.2,
    )
    assert len(memory.memory.bases) == 4
    assert memory.class_names == tuple("abcdefghij")
    assert memory.description.zca_reg == 0.1
    assert memory.protocol.architecture == "MLP(hidden_width=16)"
    assert memory.protocol.augmentation == "FlipOrRotate(max_degrees=10)"
    config = memory.description.config
    assert config["data"]["init_args"]["validation_fraction"] == 0.2
    assert config["model"]["init_args"]["slots_per_class"] == 20  # 100 images of 5 classes


def test_a_class_is_a_network_too(digits: Dataset[Any]) -> None:
    assert distill(digits, network=MLP).protocol.architecture == "MLP()"


def test_a_run_folder_that_exists_is_kept(digits: Dataset[Any], tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(UserError, match=r"the run folder .* exists: choose another run_dir"):
        distill(digits, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "^steps must be at least 1, got 0"),
        ({"inner_steps": 0}, "inner_steps must be at least 1, got 0"),
        ({"num_bases": 100}, "num_bases=100 does not fit"),
        ({"validation": 0.0}, r"validation_fraction must lie in \(0, 1\), got 0.0"),
        ({"zca": 0.0}, "zca must be positive, got 0.0"),
        ({"classes_per_step": 0}, "classes_per_step must be at least 1, got 0"),
    ],
)
def test_unusable_arguments_are_named(digits: Dataset[Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        distill(digits, **settings)


@pytest.mark.parametrize(
    ("shape", "depth"), [((1, 8, 8), 1), ((3, 32, 32), 3), ((1, 28, 28), 3), ((3, 64, 64), 4), ((1, 5, 9), 1)]
)
def test_depth_leaves_maps_of_about_four_pixels(shape: tuple[int, int, int], depth: int) -> None:
    assert suitable_depth(shape) == depth


def test_images_of_an_odd_size_are_not_downsampled() -> None:
    assert suitable_downsampling((3, 32, 32)) == 2
    assert suitable_downsampling((3, 32, 31)) == 1


def test_importing_rtp_is_cheap() -> None:
    program = "import sys, rtp; print(sorted({'torch', 'lightning', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_readme_s_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = re.search(r"^## From Python\n(.*?)^## ", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert section is not None
    block = re.search(r"```python\n(.*?)```", section[1], re.DOTALL)
    assert block is not None
    shorter, count = re.subn(r"steps=\d+", "steps=2, inner_steps=2, progress=False", block[1])
    assert count == 1
    exec(compile(shorter, "README.md", "exec"), {})  # as a program of its own
    assert rtp.load(tmp_path / "digits.safetensors").images_per_class == 6
