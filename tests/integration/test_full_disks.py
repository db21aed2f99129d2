"""Full and read-only disks: a line names the file, earlier files stay, and no empty or half file is left."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.errors import UserError

FullDisk = Callable[[int], AbstractContextManager[None]]

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"
FIT = ["fit", "--config", str(CONFIG), "--trainer.enable_progress_bar", "false", "--run_dir", "run"]
TEST = ["test", "--ckpt_path", "run/best.ckpt", "--evaluation.networks", "1"]
PREDICT = ["predict", "--ckpt_path", "run/best.ckpt"]
PICTURES = ("recalled.png", "bases.png", "similarity.png")


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, without locks, which are empty."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def assert_whole(files: dict[str, bytes]) -> None:
    """No file is empty, or what a write was to rename."""
    assert [name for name, content in files.items() if not content or ".part" in name or ".rtp-" in name] == []


@pytest.mark.usefixtures("capsys")  # or else pytest's own file would take no output
def test_a_run_goes_on_without_pictures_and_all_else_is_a_line(
    tmp_path: Path, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("rtp"), "propagate", True)
    main(FIT)
    files = contents(Path("run"))
    most = max(len(content) for name, content in files.items() if name.endswith((".ckpt", ".yaml"))) + 500
    assert len(files["recalled.png"]) > most  # or else the disk takes all
    shutil.rmtree("run")
    with full_disk(most):
        main(FIT)
        main([*TEST, "--trainer.enable_progress_bar", "false"])
    assert caplog.text.count("pictures of step") == 3  # two validations, a test
    left = contents(Path("run"))
    assert_whole(left)
    assert {"config.yaml", "hparams.yaml", "best.ckpt", "last.ckpt", "previous.ckpt", "test.json"} <= set(left)
    assert not set(PICTURES) & set(left)
    curves = EventAccumulator("run").Reload()
    assert [point.step for point in curves.Scalars("val/accuracy")] == [1, 3]

    json_before = left["test.json"]
    with full_disk(100):
        for command, name in ((TEST, "run/test.json"), (PREDICT, "run/recalled/000.png")):
            with pytest.raises(UserError, match=rf"^'{name}' cannot be written \(File too large\): make room") as error:
                main([*command, "--trainer.enable_progress_bar", "false"])
            assert "\n" not in str(error.value)
        for name, options in (("m.safetensors", []), ("m.pt", ["--format", "pt"]), ("m", ["--format", "folder"])):
            with pytest.raises(UserError, match=rf"^'{name}' cannot be written \(File too large\): make room"):
                export(["run/best.ckpt", name, *options])
        with pytest.raises(UserError, match=r"^'new/config.yaml' cannot be written \(File too large\): make room"):
            main([*FIT[:-1], "new"])
    assert contents(Path("run"))["test.json"] == json_before
    assert_whole(contents(Path()))
    assert {file.name for file in Path().iterdir()} - {"cache"} == {"run", "new"}
    assert contents(Path("new")) == {}


# Real disks ------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, os, shutil, subprocess, sys, traceback
from pathlib import Path
from rtp.cli.app import entry_point

for name, seed, free, arguments in json.load(sys.stdin):
    disk = Path(name).absolute()
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    if seed:
        shutil.copytree(seed, disk, dirs_exist_ok=True)
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - 1024 * max(0, free))))
    if free < 0:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    child = os.fork()
    if not child:
        os.dup2(os.open(f"{name}.txt", os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(1, 2)
        os.chdir(disk)
        sys.argv = ["rtp", *arguments]
        code = 0
        try:
            entry_point()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shutil.copytree(disk, f"{name}-after", ignore=shutil.ignore_patterns("filler"))
    Path(f"{name}.code").write_text(str(code))
"""

READ_ONLY, MUCH = -1, 900
Job = tuple[str, str | None, int, list[str]]
"""A name, the job whose files are on the disk, the free KiB, and a command."""


@pytest.fixture
def run_on_disks(tmp_path: Path) -> Callable[[list[Job]], None]:
    """Run each command on a disk of its own; skip where none can be mounted."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("`unshare -rm` cannot mount a disk here")

    def run(jobs: list[Job]) -> None:
        command = ["unshare", "-rm", sys.executable, "-c", PROGRAM]
        subprocess.run(command, cwd=tmp_path, input=json.dumps(jobs), text=True, check=True)

    return run


def test_real_disks_that_fill_anywhere(run_on_disks: Callable[[list[Job]], None], tmp_path: Path) -> None:
    exports = [["export", "run/best.ckpt", out, f"--format={out}", "--overwrite"] for out in ("m.pt", "folder")]
    exports[0][3] = "--format=pt"
    jobs: list[Job] = [(f"fit-{free}", None, free, FIT) for free in (4, 24, 48)]
    seed = None
    for command in (FIT, TEST, *exports):
        name = f"seed-{len(jobs)}"
        jobs.append((name, seed, MUCH, command))
        seed = f"{name}-after"
    for free in (READ_ONLY, 0):
        commands = [TEST, PREDICT, *exports, [*FIT, "--ckpt_path", "last", "--trainer.max_steps", "6"]]
        jobs += [(f"old{number}-{free}", seed, free, command) for number, command in enumerate(commands)]
    run_on_disks(jobs)
    assert "curves are lost until there is room" in (tmp_path / "fit-4.txt").read_text()
    before = contents(tmp_path / str(seed))
    assert {"run/test.json", "m.pt", "folder/export.json"} <= set(before)
    for name, _, free, _ in jobs:
        code, said = int((tmp_path / f"{name}.code").read_text()), (tmp_path / f"{name}.txt").read_text()
        after = contents(tmp_path / f"{name}-after")
        assert_whole(after)
        assert code == (0 if free == MUCH else 2), said
        assert "Traceback" not in said
        assert said.count("rtp: error: ") == (code != 0), said
        assert ("No space left on device" in said) == (free not in (MUCH, READ_ONLY)), said
        if name.startswith("old"):
            assert after == before
        if name == "old0-0":  # what took hours to measure is printed all the same
            assert "accuracy (%)" in said
        if free == READ_ONLY:
            assert "Read-only file system" in said
