"""A stream is learned, its memories are written into a file, and a program without Lightning trains from each."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import rtp
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.cli.commands.report.command import report
from rtp.datamodules import Digits, PermutedTasks
from rtp.errors import UserError
from rtp.modules import CompressThenRecall

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "streams.md").read_text(encoding="utf-8")
CONFIG = Path(__file__).parents[1] / "conf" / "streams" / "permuted_digits.yaml"
QUIET = ["--trainer.enable_progress_bar", "false"]
LEARNS = ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.05", "--model.unroll.num_steps=8"]
LEARNS += ["--model.memory_images=60", "--model.inner_optimizer=InnerSGD", "--model.inner_optimizer.learning_rate=0.1"]
LEARNS += ["--data.samples_per_task=200", "--data.replays=3", "--model.protocol.epochs=30"]
LEARNS += ["--model.network.hidden_width=32", "--model.gradient_clip=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three tasks, fitted and tested."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    main(["fit", "--config", str(CONFIG), "--run_dir", str(folder), *LEARNS, *QUIET])
    main(["test", "--ckpt_path", str(folder / "last.ckpt"), *QUIET])
    return folder


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    """The file of all its memories."""
    export([str(run / "last.ckpt"), str(run / "stream.safetensors")])
    return run / "stream.safetensors"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_task_recalls_what_the_checkpoint_recalled(run: Path, file: Path) -> None:
    module = main(["predict", "--ckpt_path", str(run / "last.ckpt"), "--run_dir", "seen", *QUIET]).model
    assert isinstance(module, CompressThenRecall)
    memory = rtp.load(file)
    assert memory.tasks == tuple(tuple(range(10 * task, 10 * task + 10)) for task in range(3))
    assert len(list(Path("seen/recalled").glob("task_0[012]/*.png"))) == 30
    for number in range(3):
        images, labels = module.recalled(number)
        task = memory.task(number)
        assert torch.equal(task.dataset().images, images)
        assert torch.equal(task.dataset().labels, labels)
        assert task.class_names == tuple("0123456789")
    assert memory.storage_bytes == module.storage_bytes


def test_a_file_says_what_the_run_and_its_stream_were(run: Path, file: Path) -> None:
    memory = rtp.load(file)
    tested = json.loads((run / "test.json").read_text())
    stream = memory.description.stream
    assert stream is not None
    assert (stream.kind, stream.source, stream.seed, stream.tasks) == ("permuted", "digits", 0, 3)
    assert (stream.samples, stream.steps, memory.description.steps) == ((200,) * 3, (60,) * 3, 180)
    assert (stream.arguments["replays"], stream.arguments["batch_size"]) == (3, 10)
    assert memory.description.dataset == "permuted_digits"
    assert memory.protocol.architecture == "MLP(depth=1, dropout=0.0, hidden_width=32)"
    assert (memory.protocol.networks, memory.protocol.epochs) == (2, 30)
    of_test = [accuracy for accuracy in memory.accuracies if accuracy.split == "test"]
    assert of_test[0].mean == pytest.approx(tested["retained_accuracy"])
    assert [a.mean for a in of_test[1:]] == pytest.approx([sum(row) / 2 for row in tested["test_accuracies"]])
    history = torch.load(run / "last.ckpt", weights_only=True)["callbacks"]["RetainedAccuracy"]["history"]
    validated, measured = memory.task(1).accuracies
    assert validated.mean == pytest.approx(history[-1][1])
    assert validated.task is None
    assert measured.mean == of_test[2].mean
    assert memory.description.config["data"]["init_args"]["source"]["init_args"]["root"] is None


def test_a_plain_loop_trains_on_a_task(file: Path) -> None:
    memory = rtp.load(file)
    task, stream = memory.task(0), memory.description.stream
    assert stream is not None
    tasks = PermutedTasks(source=Digits(), tasks=stream.tasks, samples_per_task=200, seed=stream.seed)
    tasks.setup("test")
    raw, labels = tasks.source.load("test")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    recalled = task.dataset()
    for _ in range(50):
        optimizer.zero_grad()
        F.cross_entropy(network(recalled.images.flatten(1)), recalled.labels).backward()
        optimizer.step()

    def accuracy(number: int) -> float:
        inputs = task.preprocess(tasks.transformed(raw / 255, number))
        return float((network(inputs.flatten(1)).argmax(1) == labels).float().mean())

    assert accuracy(0) > 0.4, (accuracy(0), accuracy(1))
    assert accuracy(1) < accuracy(0) - 0.2, (accuracy(0), accuracy(1))  # other places of the pixels
    images, order = tasks.task_set(0, "test")
    ours = task.preprocess(tasks.transformed(raw / 255, 0))
    assert len(images) == len(ours)
    torch.testing.assert_close(images.sum((1, 2, 3)).sort().values, ours.sum((1, 2, 3)).sort().values)
    assert torch.equal(order.bincount(), labels.bincount())


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_file_tests_as_its_checkpoint(run: Path, file: Path, dtype: str) -> None:
    export([str(file), "stream.safetensors", "--dtype", dtype])
    main(["test", "--memory", "stream.safetensors", *QUIET])
    ours = json.loads(Path("logs/stream/0/test.json").read_text())
    theirs = json.loads((run / "test.json").read_text())
    memory = rtp.load("stream.safetensors")
    assert ours["memory"] == {
        "name": "stream.safetensors",
        "stored_as": dtype,
        "storage_bytes": memory.storage_bytes,
    }
    assert (ours["steps"], ours["finished_tasks"], ours["checkpoint"]) == (180, 3, None)
    if dtype == "float32":
        assert ours["test_accuracies"] == theirs["test_accuracies"]
    else:
        assert ours["retained_accuracy"] == pytest.approx(theirs["retained_accuracy"], abs=0.05)
        assert ours["test_accuracies"] != theirs["test_accuracies"]


def test_memories_learned_in_eight_bits_are_tested_and_exported_as_stored() -> None:
    options = ["--model.memory.stored_as=int8", "--model.memory.num_bases=16", "--model.sample_bits=8"]
    main(["fit", "--config", str(CONFIG), "--run_dir", "run", *LEARNS, *options, *QUIET])
    module = main(["test", "--ckpt_path", "run/last.ckpt", *QUIET]).model
    export(["run/last.ckpt", "stream.safetensors"])
    main(["test", "--memory", "stream.safetensors", *QUIET])
    of_checkpoint, of_file = (
        json.loads(Path(name).read_text()) for name in ("run/test.json", "logs/stream/0/test.json")
    )
    assert of_file["test_accuracies"] == of_checkpoint["test_accuracies"]
    memory = rtp.load("stream.safetensors")
    assert (memory.description.stored_as, memory.description.trained_as) == ("int8", "int8")
    assert memory.storage_bytes == module.storage_bytes == of_file["memory"]["storage_bytes"] <= 60 * 256
    assert of_checkpoint["largest_storage_bytes"] <= of_checkpoint["budget_bytes"] == 60 * 256


def test_other_formats_take_a_task(file: Path) -> None:
    for name, form in (("pictures", "folder"), ("images.pt", "pt"), ("images.parquet", "parquet"), ("d", "ddranking")):
        with pytest.raises(UserError, match=f"--format {form} is for one memory, and there are 3, one of each task"):
            export([str(file), name, "--format", form])
    export([str(file), "pictures", "--format", "folder", "--task", "1"])
    export([str(file), "images.pt", "--format", "pt", "--task", "1"])
    export([str(file), "one.safetensors", "--task", "1"])
    memory, one = rtp.load(file), rtp.load("one.safetensors")
    assert len(list(Path("pictures").glob("*/*.png"))) == 10 * memory.images_per_class
    assert torch.equal(torch.load("images.pt", weights_only=True)["images"], memory.task(1).dataset().images)
    assert one.description == memory.task(1).description
    with pytest.raises(UserError, match=r"^there is no memory of task 3: choose one from 0 to 2$"):
        export([str(file), "four.safetensors", "--task", "3"])
    with pytest.raises(UserError, match=r"^one.safetensors has a memory of one task alone: give --memory the file of"):
        main(["test", "--memory", "one.safetensors"])
    with pytest.raises(UserError, match=r"DD-Ranking does not know permuted_digits"):
        export([str(file), "d", "--format", "ddranking", "--task", "0"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.seed", "1"], r"is of a stream with seed 0, and this one has 1: leave out --config and --data"),
        (["--data.samples_per_task", "100"], r"with samples \(200, 200, 200\), and this one has \(100, 100, 100\)"),
        (["--data.source", "MNIST"], r"has images of \(1, 8, 8\), and permuted_mnist of \(1, 28, 28\): change --data"),
        (["--data", "RotatedTasks"], r"is of a stream with kind 'permuted', and this one has 'rotated'"),
        (["--model.memory_images", "90"], r"the memory of task 0 takes .* floats, and this learner stores .* a task"),
    ],
)  # fmt: skip
def test_another_stream_is_refused(file: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        main(["test", "--memory", str(file), "--run_dir", "tested", *options, *QUIET])
    assert "\n" not in str(error.value)


def test_what_is_no_checkpoint_of_a_stream_is_refused(run: Path) -> None:
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    bases = state["stored.0._bases"]
    pixels = {f"stored.{task}.images": torch.zeros(20, 1, 8, 8) for task in range(3)}
    others = {name: tensor for name, tensor in state.items() if not name.startswith("stored.")}
    for changed, message in (
        (
            others | pixels,
            r"holds the AddressableMemories of tasks, and changed.ckpt has memories of another kind: `rtp",
        ),
        (state | {"stored.0._bases": bases[:2]}, r"changed.ckpt has memories of another kind"),
        (state | {f"stored.{task}._bases": bases[..., :2] for task in range(3)}, r"does not fit the stream permuted_d"),
        (state | {"finished_tasks": torch.zeros(0)}, r"^no task of changed.ckpt is finished yet"),
        (state | {"stored.0._bases": bases * torch.nan}, r"holds NaN or infinite numbers"),
    ):
        torch.save(checkpoint | {"state_dict": changed}, "changed.ckpt")
        with pytest.raises(UserError, match=message) as error:
            export(["changed.ckpt", "again.safetensors"])
        assert "\n" not in str(error.value)
    assert not Path("again.safetensors").exists()


def test_the_data_set_can_be_elsewhere(run: Path) -> None:
    export([str(run / "last.ckpt"), "whitened.safetensors", "--data.source.zca", "0.1"])
    assert rtp.load("whitened.safetensors").description.zca_reg == 0.1


def test_a_file_and_a_page_tell_of_the_stream(run: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info([str(file)])
    said = capsys.readouterr().out
    for line in (
        r"^tasks memory of permuted_digits, 180 steps",
        r"images of each of 10 classes of 3 tasks$",
        r"^tasks: 3 of 10 classes, learned apart$",
        r"^stream: permuted digits, seed 0, 3 tasks \(3 finished\) of 200 samples, source_seed 0, .* replays 3$",
        r"^classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, in each task$",
        r"^protocol: 2 x MLP\(depth=1, dropout=0.0, hidden_width=32\), 30 epochs",
        r"^test accuracy of mean of 3 tasks: \d+.\d\d \+- \d+.\d\d % \(2 x MLP, 30 epochs, memory in float32\)$",
        r"^test accuracy of each task: \d+.\d\d, \d+.\d\d, \d+.\d\d %$",
    ):
        assert re.search(line, said, re.MULTILINE), line
    report([str(run), "--out", "page.html"])
    page = Path("page.html").read_text(encoding="utf-8")
    for words in ("permuted_digits in", "task 2: 9", "mean of 3 tasks", "permuted digits, seed 0"):
        assert words in page


def test_the_card_of_a_stream_trains_on_a_task(file: Path, tmp_path: Path) -> None:
    from rtp.artefact.card import card

    memory = rtp.load(file)
    text = card(memory.description, memory._storage, "user/stream")
    assert "license: cc-by-4.0" in text
    assert 'rtp.load("hf://user/stream").task(0)  # it has a memory for each task' in text
    assert "Stream of tasks: permuted digits, seed 0" in text
    of_one = memory.task(2).description
    assert "3 tasks (number 2) of 200 samples" in card(of_one, memory.task(2)._storage, "user/stream")


def test_the_guide_s_python_runs(file: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    program = "\n".join(blocks).replace("MNIST", "Digits").replace("samples_per_task=1000", "samples_per_task=200")
    Path("stream.safetensors").write_bytes(file.read_bytes())
    names: dict[str, Any] = {}
    exec(program, names)  # the repository's own guide
    assert len(blocks) == 2
    assert names["images"].shape[0] == 2
    assert names["inputs"].shape == (5, 1, 8, 8)
    order = names["tasks"].permutation(0)
    assert torch.equal(names["inputs"].flatten(2), names["memory"].preprocess(names["pixels"]).flatten(2)[..., order])


def test_the_guide_s_commands_are_known(file: Path) -> None:
    section = GUIDE.partition("## Look at the memories")[2].partition("## ")[0]
    commands = [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("    rtp ")]
    assert [command[1] for command in commands] == ["predict", "export", "info", "test", "export"]
    Path("stream.safetensors").write_bytes(file.read_bytes())
    export(commands[-1][2:])
    assert (Path("pictures") / "000_0").is_dir()
