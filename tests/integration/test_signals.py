"""Signals that end programs: the run is saved, and the exit code says what happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"

DISTILL = """
import signal, sys, rtp, torch, lightning
from rtp.errors import StoppedError
rtp.distill((torch.rand(40, 1, 8, 8), torch.arange(40) % 2), 1, steps=1, inner_steps=1, progress=False)  # imports
images, labels = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
print("ready", flush=True)
try:
    rtp.distill((images, labels), 1, steps=100000, inner_steps=1, accelerator="cpu", progress=False)
except StoppedError as error:
    print(error, error.exit_code)
print("the program goes on")
"""


def started(command: list[str], folder: Path, ready: str) -> subprocess.Popen[str]:
    """A program that has written its first checkpoint, or printed `ready`."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if ready.endswith(".ckpt"):
        for _ in range(1200):
            if (folder / ready).is_file() or process.poll() is not None:
                break
            time.sleep(0.1)
    else:
        assert process.stdout is not None
        while ready not in process.stdout.readline() and process.poll() is None:
            pass
        time.sleep(2)  # into the training: before it, the signal does what it does to any program
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_fit_saves_and_tells_the_shell(tmp_path: Path, number: int, code: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("under nohup a program is to go on")
    options = ["--run_dir", "run", "--trainer.max_steps", "100000", "--checkpoint.every_n_steps", "3"]
    fit = [sys.executable, "-m", "rtp", "fit", "--config", str(CONFIG), *options]
    process = started(fit, tmp_path, "run/last.ckpt")
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "continue with --ckpt_path run/last.ckpt" in output
    assert "Traceback" not in output
    step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert f"stopped at step {step};" in output


def test_nohup_is_respected(tmp_path: Path) -> None:
    options = "--run_dir run --trainer.max_steps 60 --checkpoint.every_n_steps 3"
    program = f"trap '' HUP; {sys.executable} -m rtp fit --config {CONFIG} {options}"
    process = started(["sh", "-c", program], tmp_path, "run/last.ckpt")
    subprocess.run(["pkill", "-HUP", "-P", str(process.pid)], check=False)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


def test_distill_raises_and_the_program_goes_on(tmp_path: Path) -> None:
    process = started([sys.executable, "-c", DISTILL], tmp_path, "ready")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert "the distillation was stopped by a signal; nothing is kept, as there is no run_dir 143" in output
    assert output.endswith("the program goes on\n")
    assert process.returncode == 0
