"""`rtp export`, `rtp info` and `rtp test --memory`, in process as a user would call them."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from PIL import Image

import rtp
from rtp.cli import app as cli
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.cli.stored_config import use_memory
from rtp.datamodules import Digits
from rtp.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
ADDRESSABLE, PIXEL_ZCA = CONF / "addressable.yaml", CONF / "pixel.yaml"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(config: Path, folder: Path) -> Path:
    quiet = ["--trainer.enable_progress_bar", "false"]
    main(["fit", "--config", str(config), "--run_dir", str(folder), *quiet])
    main(["test", "--ckpt_path", str(folder / "best.ckpt"), "--evaluation.networks", "2", *quiet])
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with addressing and standardised images, fitted and tested."""
    return run(ADDRESSABLE, tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def whitened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with pixels, ZCA and augmentation, fitted and tested."""
    return run(PIXEL_ZCA, tmp_path_factory.mktemp("runs") / "whitened")


def exported(run_folder: Path, *options: str) -> Path:
    export([str(run_folder / "best.ckpt"), "memory.safetensors", *options])
    return Path("memory.safetensors")


def test_a_file_says_what_the_run_was(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = rtp.load(exported(plain))
    description = memory.description
    assert (description.kind, description.dataset, description.zca_reg) == ("addressable", "digits", None)
    assert (memory.num_classes, memory.images_per_class, memory.storage_floats) == (10, 6, 608)
    assert (description.downsampling, memory.class_names) == (2, tuple("0123456789"))
    assert memory.protocol.architecture == "ConvNet(depth=1, width=8)"
    assert (memory.protocol.networks, memory.protocol.epochs, memory.protocol.augmentation) == (2, 2, None)
    test = json.loads((plain / "test.json").read_text())
    validation, tested = memory.accuracies
    assert (validation.split, validation.std, validation.networks) == ("validation", None, 2)
    assert (tested.split, tested.mean, tested.std) == ("test", test["accuracy_mean"], test["accuracy_std"])
    assert description.steps == test["steps"]
    assert description.config["data"]["init_args"]["root"] is None
    state = torch.load(plain / "best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(memory.memory.bases, state["memory._bases"])
    printed = capsys.readouterr().out
    assert f"wrote memory.safetensors, {Path('memory.safetensors').stat().st_size:,} bytes" in printed
    assert "608 numbers as float32, 2,432 bytes, 1,946 bits a class; 6 images of each of 10 classes" in printed


@pytest.mark.parametrize("fixture", ["plain", "whitened"])
def test_a_file_preprocesses_as_the_data_set_did(fixture: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(fixture)
    memory = rtp.load(exported(folder))
    data = Digits(zca=memory.description.zca_reg)
    data.setup("test")
    raw, _ = data.load("test")
    torch.testing.assert_close(memory.preprocess(raw), data.test_set[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("fixture", ["plain", "whitened"])
def test_a_file_tests_as_its_checkpoint(fixture: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(fixture)
    path = exported(folder)
    result = main(["test", "--memory", str(path), "--evaluation.networks", "2"])
    report = json.loads(Path("logs/memory/0/test.json").read_text())
    of_checkpoint = json.loads((folder / "test.json").read_text())
    # ZCA's eigenvectors are stored in float32
    assert report["accuracy_mean"] == pytest.approx(of_checkpoint["accuracy_mean"], abs=0.003)
    assert report["steps"] == of_checkpoint["steps"]
    stored = 4 * of_checkpoint["storage_floats"]
    assert report["memory"] == {"name": "memory.safetensors", "stored_as": "float32", "storage_bytes": stored}
    assert result.datamodule.normalisation is not None


def test_what_quantisation_costs_is_measured_on_the_file(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exported(plain, "--dtype", "int8")
    assert "608 numbers as int8, 636 bytes, 509 bits a class" in capsys.readouterr().out
    main(["test", "--memory", str(path), "--run_dir", "tested", "--evaluation.networks", "1"])
    report = json.loads(Path("tested/test.json").read_text())
    assert (report["storage_floats"], report["storage_bytes"], report["networks"]) == (608, 636, 1)


def test_an_export_can_be_exported_again(plain: Path) -> None:
    path = exported(plain)
    export([str(path), "images.pt", "--format", "pt"])
    export([str(path), "small.safetensors", "--dtype", "float16"])
    export([str(path), "png", "--format", "folder"])
    assert torch.equal(torch.load("images.pt", weights_only=True)["images"], rtp.load(path).dataset().images)
    assert rtp.load("small.safetensors").storage_bytes == 2 * 608
    assert len(list(Path("png").glob("*/*.png"))) == 60


def test_a_test_of_another_checkpoint_is_not_this_ones(plain: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("best.ckpt", "test.json"):
        (copy / name).write_bytes((plain / name).read_bytes())
    (copy / "other.ckpt").write_bytes((plain / "best.ckpt").read_bytes())
    export([str(copy / "other.ckpt"), "other.safetensors"])
    assert rtp.load("other.safetensors").accuracies == ()
    (copy / "test.json").write_text('{"checkpoint": "best.ckpt"}')
    with pytest.raises(UserError, match=r"test.json is damaged \(KeyError\): repeat the test or remove it"):
        export([str(copy / "best.ckpt"), "again.safetensors"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["out.txt"], "'out.txt' is not a name of a safetensors file: call it out.safetensors"),
        (["out.safetensors", "--format", "pt"], "is not a name of a pt file: call it out.pt"),
        (["out", "--format", "folder", "--dtype", "int8"], "--dtype int8 is how a .safetensors file stores"),
        (["out.safetensors", "--dtype", "int2"], "invalid choice: 'int2'"),
        (["out.safetensors", "--frmat", "folder"], "unrecognized arguments: --frmat folder; `rtp export --help`"),
        (["out.safetensors", "--data.rot", "x"], "'rot'|'data.rot'"),
        (["out.safetensors", "--data.zca", "-1"], "zca must be positive, got -1.0"),
        (["out.safetensors", "--data=ImageFolder", "--data.folder", "none"], "There is no folder with images"),
        ([], "the following arguments are required: OUT"),
    ],
)
def test_an_unusable_export_is_one_line_and_writes_nothing(plain: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        export([str(plain / "best.ckpt"), *options])
    assert "\n" not in str(error.value)
    assert not [path for path in Path.cwd().iterdir() if path.name != "cache"]


def test_what_is_no_checkpoint_is_refused(plain: Path) -> None:
    path = exported(plain)
    with pytest.raises(UserError, match=r"^--data.root: memory.safetensors needs no data set, leave the option out"):
        export([str(path), "again.safetensors", "--data.root", "x"])
    checkpoint = torch.load(plain / "best.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    for changed, message in (
        (state | {"memory.labels": torch.zeros(3)}, "holds _bases, addressing, labels: a file holds the tensors of an"),
        (state | {"memory._bases": torch.zeros(8, 1, 4, 2)}, r"does not fit the data set digits \('bases' is float32"),
        (state | {"memory._bases": torch.zeros(8)}, r"does not fit the data set digits \(IndexError"),
        (
            state | {"memory.addressing": state["memory.addressing"] * torch.nan},
            "holds NaN or infinite numbers",
        ),
    ):
        torch.save(checkpoint | {"state_dict": changed}, "changed.ckpt")
        with pytest.raises(UserError, match=message):
            export(["changed.ckpt", "again.safetensors"])
    assert not Path("again.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ckpt_path", "x.ckpt"], r"--memory memory.safetensors and --ckpt_path x.ckpt are two memories"),
        (["--data", "ImageFolder", "--data.folder", "ten"], "the classes .'0', .* data set ten .'a', .*: change"),
        (["--config", str(ADDRESSABLE), "--data", "MNIST"], r"shape \(1, 8, 8\), the data set mnist \(1, 28, 28\)"),
    ],
)  # fmt: skip
def test_a_test_that_does_not_fit_is_one_line(
    plain: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTP_DATA_DIR", "data")
    for name in "abcdefghij":
        folder = Path("data/ten/train") / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 8), 80 * number).save(folder / f"{number}.png")
    path = exported(plain)
    with pytest.raises(UserError, match=message) as error:
        main(["test", "--memory", str(path), "--run_dir", "tested", *options])
    assert "\n" not in str(error.value)


def test_a_stranger_cannot_name_a_class(plain: Path) -> None:
    memory = rtp.load(exported(plain))
    memory.description.config["data"] = {"class_path": "os.system", "init_args": {"command": "touch owned"}}
    memory.save("theirs.safetensors")
    with pytest.raises(UserError, match=r"has 'os.system' as data, which is not rtp's own and could run any code"):
        main(["test", "--memory", "theirs.safetensors"])
    assert not Path("owned").exists()
    result = main(["test", "--memory", "theirs.safetensors", "--config", str(ADDRESSABLE), "--evaluation.networks=1"])
    assert torch.equal(result.model.memory.bases, memory.memory.bases)


def test_only_rtp_s_own_module_takes_a_memory(plain: Path) -> None:
    path = exported(plain)
    with pytest.raises(UserError, match=r"--memory needs a module with a memory and .*, got LightningModule"):
        use_memory(path, rtp.load(path), L.LightningModule(), Digits())


def test_weight_decay_and_a_drop_of_the_rate_are_told(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = rtp.load(exported(plain))
    assert (memory.protocol.weight_decay, memory.protocol.drop_after) == (0, 1)
    protocol = replace(memory.protocol, weight_decay=5e-4, drop_after=0.5)
    replace(memory, description=replace(memory.description, protocol=protocol)).save("decayed.safetensors")
    capsys.readouterr()
    info(["decayed.safetensors"])
    told = (
        "SGD with learning rate 0.01, a tenth of it after 50 % of the epochs, momentum 0.9, weight decay 0.0005, augm"
    )
    assert told in capsys.readouterr().out


def test_info_says_what_a_file_and_a_checkpoint_hold(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = rtp.load(exported(plain))
    memory.save("memory.safetensors", overwrite=True)
    capsys.readouterr()
    info(["memory.safetensors"])
    printed = capsys.readouterr().out
    for line in (
        "addressable memory of digits,",
        "memory: 608 numbers as float32",
        "images: 1x8x8, from 8 bases of 1x4x4",
        "preprocessing: each channel standardised, 16 bytes beside the memory",
        "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n",
        "protocol: 2 x ConvNet(depth=1, width=8), 2 epochs",
        "validation accuracy: ",
        " % (2 x ConvNet, 2 epochs, memory in float32)",
    ):
        assert line in printed
    info([str(plain / "best.ckpt")])
    printed = capsys.readouterr().out
    assert "memory: 608 numbers, 2,432 bytes in float32: memory._bases 8x1x4x4, memory.addressing 6x10x8" in printed
    assert "model.unroll.num_steps: 2" in printed
    with pytest.raises(UserError, match=r"there is no checkpoint 'none.ckpt'"):
        info(["none.ckpt"])
    with pytest.raises(UserError, match=r"'none.safetensors' is no file"):
        info(["none.safetensors"])


def test_info_shows_no_characters_that_command_a_terminal(whitened: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = rtp.load(exported(whitened))
    object.__setattr__(memory.description, "class_names", tuple(f"\x1b[31m{number}\n" for number in range(10)))
    memory.save("theirs.safetensors")
    capsys.readouterr()
    info(["theirs.safetensors"])
    printed = capsys.readouterr().out
    assert "classes: ?[31m0?, ?[31m1?" in printed
    assert "preprocessing: ZCA, regularisation 0.1" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("command", ["export", "info"])
def test_the_commands_are_part_of_the_program(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # of the whole process
    monkeypatch.setattr(sys, "argv", ["rtp", command, "--help"])
    with pytest.raises(SystemExit) as stopped:
        cli.entry_point()
    assert not stopped.value.code
    assert f"usage: rtp {command}" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["rtp", command, "--nonsense"])
    with pytest.raises(SystemExit) as stopped:
        cli.entry_point()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("rtp: error: ")
    monkeypatch.setattr(sys, "argv", ["rtp", "--help"])
    with pytest.raises(SystemExit):
        cli.entry_point()
    assert f"\n    {command} " in capsys.readouterr().out


def test_the_configuration_in_a_file_is_the_runs(plain: Path) -> None:
    config: Any = yaml.safe_load((plain / "config.yaml").read_text())
    stored = rtp.load(exported(plain)).description.config
    assert stored == {name: config[name] for name in ("seed_everything", "model", "data", "evaluation", "pictures")}
