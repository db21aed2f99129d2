"""`rtp.distill`, and the lines of the README that show it."""

import json
import math
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, TensorDataset

import rtp
from rtp.cli import main
from rtp.errors import UserError
from rtp.modules import MLP, FlipOrRotate, StepwiseUnroll
from rtp.modules.distillation.recipe import Recipe, suitable_recipe
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.window import RandomWindow

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def digits() -> Dataset[Any]:
    data = load_digits()
    return TensorDataset(torch.from_numpy(data.images / 16).float()[:, None], torch.from_numpy(data.target))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(*args: Any) -> Recipe:
        return replace(suitable_recipe(*args), protocol=TrainingProtocol(epochs=2))

    monkeypatch.setattr("rtp.api.suitable_recipe", quick)


def distill(dataset: Any, **settings: Any) -> Any:
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


def test_a_memory_of_integers_comes_back_as_it_is_stored(digits: Dataset[Any], tmp_path: Path) -> None:
    memory = distill(digits, stored_as="int8", run_dir=tmp_path / "run")
    assert memory.description.stored_as == "int8"
    assert 2560 - 642 < memory.storage_bytes <= 2560  # less than one matrix of 10 x 32 numbers is left
    assert memory.storage_floats > 3.5 * 608
    loaded = rtp.load(tmp_path / "run" / "memory.safetensors")
    assert torch.equal(loaded.recall(torch.arange(10)), memory.recall(torch.arange(10)))


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
    assert config["model"]["init_args"]["slots_per_class"] == 10  # 50 images of 5 classes


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
        ({"stored_as": "int9"}, "^stored_as is 'int9': give one of float32, float16, int8, int4"),
        ({"stored_as": 8}, "^stored_as is 8, a int: give a string"),
        ({"network": MLP((1, 8, 8), 10)}, r"^network is a MLP: give what builds one from \(image_shape, num_classes\)"),
        ({"network": "ConvNet"}, "^network is a str: give what builds one"),
        ({"steps": "10"}, "^steps is '10', a str: give an integer"),
        ({"steps": 1.5}, "^steps is 1.5, a float: give an integer"),
        ({"steps": True}, "^steps is True, a bool: give an integer"),
        ({"inner_steps": 2.5}, "^inner_steps is 2.5, a float: give an integer or None"),
        ({"minutes": "5"}, "^minutes is '5', a str: give a number or None"),
        ({"minutes": 0}, r"^minutes must lie in \(0, 1e6\], got 0"),
        ({"minutes": math.inf}, r"^minutes must lie in \(0, 1e6\], got inf"),
        ({"seed": 0.5}, "^seed is 0.5"),
        ({"zca": "yes"}, "^zca is 'yes', a str: give a number or None"),
        ({"validation": [0.1]}, r"^validation is \[0.1\], a list: give a number"),
        ({"num_bases": 4.0}, "^num_bases is 4.0, a float: give an integer or None"),
        ({"augmentation": "flip"}, "^augmentation is 'flip', a str: give Augmentation or None or 'auto'"),
        ({"class_names": "abc"}, "^class_names is 'abc': give a list, each item a string"),
        ({"class_names": [1, 2]}, r"^class_names is \[1, 2\]: give a list, each item a string"),
        ({"classes": [1.5]}, r"^classes is \[1.5\]: give a list, each item an integer"),
        ({"accelerator": 3}, "^accelerator is 3, a int: give a string"),
        ({"accelerator": "gpux"}, "^accelerator='gpux' cannot be used: "),
        ({"run_dir": 7}, "^run_dir is 7, a int: give a string or Path or None"),
        ({"progress": "no"}, "^progress is 'no', a str: give bool"),
        ({"image_size": 16}, "^image_size is for folders and datasets.Dataset"),
        ({"image_size": "16"}, "^image_size is '16': give one number or"),
    ],
)
def test_unusable_arguments_are_named(digits: Dataset[Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        distill(digits, **settings)


def test_a_long_run_returns_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def long(*_: Any) -> Recipe:
        unroll = StepwiseUnroll(4, RandomWindow(2), compile=False)
        return Recipe(unroll, 10, 0.05, 0.1, None, 0.5, TrainingProtocol(epochs=2), validate_every=2, patience=3)

    monkeypatch.setattr("rtp.api.suitable_recipe", long)
    memory = distill((torch.rand(60, 1, 8, 8), torch.arange(60) % 2), steps=20, run_dir=tmp_path / "run")
    best = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)
    averaged, trained = (best[name]["memory._bases"] for name in ("state_dict", "current_model_state"))
    assert not torch.equal(averaged, trained)
    assert torch.equal(memory.memory.state_dict()["_bases"], averaged)


def test_minutes_end_a_run_with_a_validated_memory(digits: Dataset[Any]) -> None:
    memory = distill(digits, steps=10**9, minutes=0.02)
    assert [accuracy.split for accuracy in memory.accuracies] == ["validation"]
    assert 0 < memory.description.steps < 10**6


def test_busy_cores_are_left_to_others_and_the_threads_set_back(
    digits: Dataset[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("rtp.utils.cores.core_usage", lambda: (1.0, 2))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        distill(digits)
        assert "this one uses 1 of 2 threads" in caplog.text
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


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
    assert rtp.load(tmp_path / "my-digits.safetensors").images_per_class == 6


NOISE = torch.randint(256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(20) % 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((NOISE.permute(0, 2, 3, 1), LABELS), r"channels come first, use image\.permute\(2, 0, 1\)"),
        ((NOISE[:, :2], LABELS), "which is 2 channels and not 1 or 3"),
        ((torch.cat([NOISE, NOISE[:, :1]], dim=1), LABELS), "which is 4 channels and not 1 or 3"),
        (DataLoader(TensorDataset(NOISE, LABELS)), r"pass loader\.dataset"),
        ((NOISE, LABELS * 0), "holds one class"),
        ((NOISE, LABELS * 10**9), "has the 2 labels 0, 1000000000 and not 0 to 1"),
        ("no/such/folder", "There is no folder with images in"),
    ],
)
def test_unusable_data_are_refused_before_the_first_step(
    given: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning.Trainer.save_checkpoint", None)
    with pytest.raises(UserError, match=message):
        distill(given, steps=10**9)


def test_arrays_folders_and_hugging_face_data_sets(tmp_path: Path) -> None:
    from_tensors = distill((NOISE, LABELS))
    from_arrays = distill((NOISE.permute(0, 2, 3, 1).numpy(), LABELS.numpy()[:, None]))
    assert torch.equal(from_tensors.memory.bases, from_arrays.memory.bases)
    for number, (image, label) in enumerate(zip(NOISE, LABELS.tolist(), strict=True)):
        folder = tmp_path / "train" / "ab"[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:02d}.png")
    for path in (tmp_path, str(tmp_path)):
        assert distill(path).class_names == ("a", "b")
    assert distill(tmp_path, image_size=(4, 8)).image_shape == (3, 4, 8)
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.fromarray(i.permute(1, 2, 0).numpy()) for i in NOISE], "label": LABELS.tolist()}
    assert distill(datasets.Dataset.from_dict(rows, features=features)).class_names == ("a", "b")
    with pytest.raises(UserError, match="class_names and classes are for torch data sets and arrays"):
        distill(tmp_path, classes=[0, 1])


def test_a_subset_of_classes(digits: Dataset[Any]) -> None:
    memory = distill(digits, classes=[5, 3])
    assert memory.class_names == ("5", "3")


def test_what_distill_took_can_be_preprocessed(digits: Dataset[Any]) -> None:
    images = load_digits().images / 16
    memory = distill((images, load_digits().target))
    assert memory.preprocess(images).shape == (1797, 1, 8, 8)
    assert memory.preprocess(images[0]).shape == memory.to_pixels(memory.preprocess(images[0])).shape == (1, 8, 8)
