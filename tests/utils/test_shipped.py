"""Names of what rtp ships; a user's own file of the same name wins."""

import csv
import json
import math
import os
from pathlib import Path

import pytest

import rtp
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.cli.commands.listing import show
from rtp.errors import UserError
from rtp.studies.study import study
from rtp.utils.shipped import find, shipped

ROOT = Path(__file__).parents[2]
MEMORIES = ROOT / "memories"


def test_everything_in_the_repository_s_folders_has_a_name() -> None:
    for kind, suffix in (("configs", ".yaml"), ("memories", ".safetensors")):
        files = {path.relative_to(ROOT / kind).as_posix() for path in (ROOT / kind).rglob(f"*{suffix}")}
        assert {f"{name}{suffix}" for name in shipped(kind)} == files  # type: ignore[arg-type]
        assert files


def test_a_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("configs", "digits_ipc1").read_text() == (ROOT / "configs" / "digits_ipc1.yaml").read_text()
    Path("digits_ipc1").mkdir()  # of logs, perhaps
    assert find("configs", "digits_ipc1").is_file()
    Path("cpu").mkdir()
    Path("cpu/mnist_ipc1").write_text("{}")
    assert find("configs", "cpu/mnist_ipc1") == Path("cpu/mnist_ipc1")
    assert find("configs", "studies/unroll") == find("configs", "unroll", "studies")
    assert find("configs", "studies/unroll", "studies") == find("configs", "unroll", "studies")


@pytest.mark.parametrize("path", ["none.yaml", "/digits_ipc1/x", "a/b", "./digits_ipc1", "../digits_ipc1", ""])
def test_what_looks_like_a_path_is_one(path: str) -> None:
    assert find("configs", path) == Path(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit_ipc1", r"^'digit_ipc1' is no file, and rtp ships no such memory: did you mean digits_ipc1\?"),
        ("zzz", r"^'zzz' is no file, and rtp ships no such memory: `rtp list memories` shows them"),
    ],
)
def test_a_misspelled_memory_is_named(name: str, message: str) -> None:
    for use in (rtp.load, lambda given: info([given]), lambda given: export([given, "x.safetensors"])):
        with pytest.raises(UserError, match=message):
            use(name)
    with pytest.raises(UserError, match=message):
        main(["test", "--memory", name])


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["-c", "{}"]])
def test_a_configuration_by_its_name(form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning.Trainer.fit", lambda *_, **__: None)
    cli = main(["fit", *(part.format("digits_ipc1") for part in form)])
    assert cli.trainer.max_steps > 4
    assert cli.trainer.default_root_dir == "logs/digits_ipc1/0"
    with pytest.raises(UserError, match=r"^'digits_ipc2' is no file, and rtp ships no such configuration: did"):
        main(["fit", *(part.format("digits_ipc2") for part in form)])


def test_a_study_by_its_name() -> None:
    with pytest.raises(UserError, match=r"none of its sizes|size"):
        study(["unroll", "--size", "no such"])
    with pytest.raises(UserError, match=r"^'unrol' is no file, .* no such configuration: did you mean unroll"):
        study(["unrol", "--fast"])


def test_the_table_of_memories_is_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    with (MEMORIES / "memories.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(shipped("memories"))
    show(["memories"])
    listed = capsys.readouterr().out
    for name, row in rows.items():
        memory = rtp.load(name)
        assert shipped("memories")[name].stat().st_size <= 200_000
        assert (row["stored_as"], int(row["bytes"])) == (memory.description.stored_as, memory.storage_bytes)
        assert (int(row["numbers"]), row["data"]) == (memory.storage_floats, memory.description.dataset)
        assert int(row["images_per_class"]) == memory.images_per_class
        assert row["architecture"] == memory.protocol.architecture
        assert name in listed
        assert row["accuracy"] in listed
        tested = next(accuracy for accuracy in memory.accuracies if accuracy.split == "validation")
        assert tested.mean > 0.1


def reproduced(name: str, folder: Path) -> None:
    """`rtp test --memory NAME` has the table's accuracy, within two standard errors of each."""
    with (MEMORIES / "memories.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == name)
    main(["test", "--memory", name, "--run_dir", str(folder), "--trainer.enable_progress_bar", "false"])
    result = json.loads((folder / "test.json").read_text())["results"][0]
    mean, std = (float(part) for part in row["accuracy"].split(" +- "))
    error = math.sqrt((std**2 + (100 * result["accuracy_std"]) ** 2) / int(row["networks"]))
    assert result["networks"] == int(row["networks"]) >= 10
    assert abs(100 * result["accuracy_mean"] - mean) <= 2 * error


def test_the_memory_of_digits_is_as_good_as_the_table_says(tmp_path: Path) -> None:
    reproduced("digits_ipc1", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif("RTP_DATA_DIR" not in os.environ, reason="needs the data sets in RTP_DATA_DIR")
@pytest.mark.parametrize("name", sorted(set(shipped("memories")) - {"digits_ipc1"}))
def test_other_memories_are_as_good_as_the_table_says(name: str, tmp_path: Path) -> None:
    reproduced(name, tmp_path / "run")


def test_configurations_are_listed_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    show(["configs"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[0] for line in lines} == set(shipped("configs"))
    assert all(len(line.split()) > 3 for line in lines)
