"""Folders of runs: each process its own, one process at a time, and the newest first."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rtp.errors import UserError
from rtp.runs.folders import held, make_run_folder, new_run_folder, resumable_folders


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_eight_at_once_get_eight_folders() -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_run_folder("x"), range(40)))
    assert {folder.name for folder in folders} == {str(number) for number in range(40)}
    assert all(folder.is_dir() for folder in folders)


def test_a_folder_that_cannot_be_made_is_a_line() -> None:
    Path("logs").touch()
    with pytest.raises(UserError, match=r"the run folder logs/x cannot be made \((Not a directory|File exists)\)"):
        new_run_folder("x")
    with pytest.raises(UserError, match=r"the run folder logs/a cannot be made .*: choose another place"):
        make_run_folder(Path("logs/a"))


def test_one_process_trains_in_a_folder() -> None:
    program = "import sys\nfrom pathlib import Path\nfrom rtp.runs.folders import held\nwith held(Path('run')): pass"
    with held(Path("run")):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UserError: another process trains in run: wait for it, or choose another --run_dir" in done.stderr
    with held(Path("run")):  # given back
        pass


def test_runs_of_any_name_can_be_resumed_the_newest_first() -> None:
    for number, name in enumerate(["3", "demo-20260101-000000", "12"]):
        folder = Path("logs/x") / name
        folder.mkdir(parents=True)
        file = folder / ("previous.ckpt" if name == "3" else "last.ckpt")
        file.touch()
        os.utime(file, (1000 + number, 1000 + number))
    Path("logs/x/99").mkdir()  # without a checkpoint
    os.utime("logs/x/3/previous.ckpt", (2000, 2000))
    assert [folder.name for folder in resumable_folders("x")] == ["3", "12", "demo-20260101-000000"]
    assert resumable_folders("y") == []
