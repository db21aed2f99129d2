"""Settings of the process."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rtp.cli import process
from rtp.cli.process import core_usage, find_local_modules, keep_compilations, show_log, use_free_cores


def test_compilations_are_kept_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    keep_compilations()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compilations()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "rtp" / "compiled")


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_freed_memory_is_used_again() -> None:
    program = """
import resource
from rtp.cli.process import keep_freed_memory
kept = keep_freed_memory()
for _ in range(50):
    bytearray(1 << 26)  # 64 MiB, zeroed: 16,384 pages
    if _ == 0: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    kept, faults = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert (int(faults) < 16_384) == (kept == "True")


def test_the_log_is_shown_without_its_callers(capsys: pytest.CaptureFixture[str]) -> None:
    show_log()
    logging.getLogger("rtp.modules").info("compiled")
    assert capsys.readouterr().err == "rtp: compiled\n"


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "free"),
    [(1.9, 2, 2, 1), (1.0, 2, 2, 1), (5.8, 8, 4, 2), (0.4, 2, 2, None), (4.0, 8, 4, None), (2.0, 2, 1, None)],
)
@pytest.mark.parametrize("given", [None, "4"])
def test_threads_that_find_no_core_are_not_used(
    busy: float,
    cores: int,
    threads: int,
    free: int | None,
    given: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    used: list[int] = []
    monkeypatch.setattr(process, "core_usage", lambda: (busy, cores))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    use_free_cores()
    lines = [record.getMessage() for record in caplog.records]
    if free is None:
        assert (used, lines) == ([], [])
    elif given is None:
        assert used == [free]
        assert lines == [
            f"other programs keep {busy} of {cores} cores busy: this one uses {free} of {threads} threads "
            "(set OMP_NUM_THREADS to choose)"
        ]
    else:
        assert used == []  # the user's choice
        assert f"OMP_NUM_THREADS=4: set it to {free}, or threads wait" in lines[0]


def test_usage_is_the_share_of_ticks_that_were_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(100, 1000, 4), (130, 1040, 4)])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(process, "_cpu_times", lambda: next(readings))
    assert core_usage(0) == (1.0, 4)  # 30 of 40 ticks were idle, so one core of four was busy
    monkeypatch.setattr(sys, "platform", "darwin")
    assert core_usage(0) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc/stat")
def test_usage_of_this_machine() -> None:
    usage = core_usage(0.05)
    assert usage is not None
    busy, cores = usage
    assert 0 <= busy <= cores
    assert cores >= (os.cpu_count() or 1)


def test_modules_in_the_current_folder_are_found_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/first"])
    find_local_modules()
    assert sys.path == ["/first", str(tmp_path)]


def test_python_s_safe_path_is_respected(tmp_path: Path) -> None:
    program = "import sys, rtp.cli.process; rtp.cli.process.find_local_modules(); print(sys.path)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in done.stdout
