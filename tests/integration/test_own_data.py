"""docs/guides/own_data.md: its files are written, its commands are run, on a few generated images."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from rtp.artefact import load
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.errors import UserError

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "guides" / "own_data.md").read_text(encoding="utf-8")
SHORT = shlex.split(
    "--trainer.max_steps 1 --trainer.val_check_interval 1 --trainer.logger false --trainer.enable_progress_bar false "
    "--model.unroll.num_steps 1 --evaluation.protocol.epochs 1 --evaluation.validation_networks 1"
)
"""What makes a command of the document as short as a test has to be."""


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(title: str) -> list[list[str]]:
    return [shlex.split(line) for block in blocks(section(title), "sh") for line in block.splitlines()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the document's files, which `rtp` is run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RTP_DATA_DIR", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    datasets.disable_progress_bars()
    for block in blocks(DOCUMENT, "(?:python|yaml)"):
        name = re.match(r'(?:"""|# )(my\w*\.(?:py|yaml))', block)
        assert name is not None, block
        (tmp_path / name[1]).write_text(block, encoding="utf-8")
    return tmp_path


def pictures(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, *shape), dtype=np.uint8)


def write_stars(folder: Path) -> None:
    folder.mkdir()
    images, labels = pictures(12, 28, 28), np.arange(12) % 2
    np.savez(folder / "stars.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def test_images_in_folders(folder: Path) -> None:
    for number, pixels in enumerate(pictures(24, 40, 36, 3)):
        split, label = ("train", "test")[number // 12], ("daisy", "tulip")[number % 2]
        path = folder / "data" / "flowers" / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    ((_, *arguments),) = commands("Images in folders")
    run = main([*arguments, *SHORT])
    assert run.datamodule.class_names == ("daisy", "tulip")
    assert run.trainer.global_step == 1


@pytest.mark.parametrize(
    ("name", "option"),
    [("ImageFolder", "zca"), ("HuggingFace", "zca"), ("CIFAR10", "zca"), ("RotatedTasks", "replays")],
)
def test_arguments_of_base_classes_are_options_and_a_typo_is_refused(
    name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.help", name])
    assert stopped.value.code == 0
    assert f"--data.{option} " in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"Option '{option}x' is not accepted by {name}, which takes .*{option}"):
        main(["fit", "--data", name, f"--data.{option}x", "1"])


def test_a_hugging_face_data_set(folder: Path) -> None:
    features = datasets.Features({"picture": datasets.Image(), "species": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"picture": [Image.fromarray(p) for p in pictures(12, 32, 32, 3)], "species": [0, 1] * 6}
    (folder / "data" / "pets").mkdir(parents=True)
    for split in ("train", "test"):
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(folder / "data" / "pets" / f"{split}-00000-of-00001.parquet")
    ((_, *arguments),) = commands("A Hugging Face data set")
    run = main([*arguments, *SHORT])
    assert run.datamodule.class_names == ("cat", "dog")
    assert run.trainer.global_step == 1


def test_a_data_module_that_the_installed_program_finds_in_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stars(folder / "data")
    (program, *arguments), (_, *test) = commands("A data module")
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments, *SHORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "distilling stars into" in done.stdout
    checkpoint = folder / "logs" / "my" / "0" / "best.ckpt"
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(UserError, match=r"has 'my_data.Stars' as data, .* give what you trust, with --config"):
        main(["test", "--ckpt_path", str(checkpoint)])
    main([*test, "--evaluation.networks", "1", "--evaluation.protocol.epochs", "1", "--trainer.logger", "false"])
    assert re.search(r"^distilled +ConvNet ", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(UserError, match=r"has 'my_data.Stars' as data, .* to export, --data"):
        export([str(checkpoint), "stars.safetensors"])
    export([str(checkpoint), "stars.safetensors", "--data", "my_data.Stars", "--data.file", "stars.npz"])
    assert load("stars.safetensors").image_shape == (1, 28, 28)


def test_a_network(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(folder)
    write_stars(folder / "data")
    (_, *fit), (_, *test) = commands("A network")
    run = main([*fit, *SHORT, "--data", "my_data.Stars"])
    assert type(run.model.network((1, 28, 28), 2)).__name__ == "Perceptron"
    main([*test, "--evaluation.networks", "1"])
    assert re.search(r"^distilled +Perceptron ", capsys.readouterr().out, re.MULTILINE)


def test_a_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    write_stars(folder / "data")
    ((_, *arguments),) = commands("A memory")
    memory = main([*arguments, *SHORT, "--data", "my_data.Stars"]).model.memory
    assert type(memory).__name__ == "Contrasts"
    assert memory.storage_floats == 2 * 28 * 28 + 2 * 8
