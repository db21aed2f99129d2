"""Settings of the process."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtp.cli.process import find_local_modules, keep_compilations, show_log


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
