"""Several runs at once: each in a folder of its own, and one at a time in a folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"
RUNS = 8


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "rtp", "fit", "--config", str(CONFIG), "--trainer.enable_progress_bar", "false"]
    # a program that others start has none of their run's folder
    environment = {name: value for name, value in os.environ.items() if name != "RTP_RUN_DIR"}
    return subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.slow
def test_eight_fits_started_at_once_make_eight_folders(tmp_path: Path) -> None:
    processes = [start(tmp_path, "--seed_everything", str(1000 + run)) for run in range(RUNS)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * RUNS, said
    folders = sorted((tmp_path / "logs" / "addressable").iterdir())
    assert [folder.name for folder in folders] == [str(run) for run in range(RUNS)]
    seeds = []
    for folder in folders:
        config = (folder / "config.yaml").read_text()
        seeds.append(yaml.safe_load(config)["seed_everything"])
        for name in ("last.ckpt", "previous.ckpt", "best.ckpt"):
            checkpoint = torch.load(folder / name, weights_only=True)
            assert checkpoint["rtp_config"] == config
            assert checkpoint["rtp_seed"] == seeds[-1]
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
        assert f"run folder logs/addressable/{folder.name}\n" in said[seeds[-1] - 1000]
    assert sorted(seeds) == [1000 + run for run in range(RUNS)]


@pytest.mark.slow
def test_of_two_that_continue_one_run_the_second_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, "--run_dir", "run", "--trainer.max_steps", "1")
    first.communicate()
    assert first.returncode == 0
    last = tmp_path / "run" / "last.ckpt"
    written = last.stat().st_mtime_ns
    endless = ["--ckpt_path", "last", "--trainer.max_steps", "1000000"]
    both = [start(tmp_path, "--run_dir", "run", *endless) for _ in range(2)]
    end = time.monotonic() + 300
    try:
        while time.monotonic() < end and not (
            any(process.poll() is not None for process in both) and last.stat().st_mtime_ns > written
        ):
            time.sleep(0.1)
        (training,) = [process for process in both if process.poll() is None]
        training.terminate()  # it saves its last step
        said = {process: process.communicate()[0] for process in both}
    finally:
        for process in both:
            process.kill()
    (refused,) = set(both) - {training}
    assert (refused.returncode, training.returncode) == (2, 143), said
    assert "rtp: error: another process trains in run: wait for it, or choose another --run_dir\n" in said[refused]
    assert "Traceback" not in said[refused]
    assert torch.load(last, weights_only=True)["global_step"] > 1
