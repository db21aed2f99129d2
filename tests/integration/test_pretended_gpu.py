"""Every module runs on a device that only pretends to be one, in a process of its own; see tests/pretended_gpu."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_of_a_run_on_a_gpu_is_left_on_the_host() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/pretended_gpu"]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"RTP_PRETENDED_GPU": "1"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    assert " passed" in ended.stdout
