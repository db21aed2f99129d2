"""Folders of runs: logs/NAME/NUMBER."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

RUN_DIR = "RTP_RUN_DIR"
"""Environment variable by which the first process passes the run's folder to the processes it starts."""


def run_folder(trainer: L.Trainer) -> Path:
    """The folder of a run's checkpoints, pictures and results."""
    return Path(trainer.default_root_dir)


def config_name(config: Sequence[Any] | None) -> str:
    """Name of a configuration's runs: the stems of its files, as in stream_learner, or "unnamed" without files."""
    return "_".join(Path(str(path)).stem for path in config) if config else "unnamed"


def run_folders(name: str) -> list[Path]:
    """The folders logs/NAME/NUMBER of a configuration's runs, the highest number first."""
    numbered = [folder for folder in (Path("logs") / name).glob("*") if folder.name.isdigit()]
    return sorted(numbered, key=lambda folder: int(folder.name), reverse=True)


def next_run_folder(name: str) -> Path:
    """The first of logs/NAME/0, logs/NAME/1, ... that does not exist, above all that do."""
    taken = run_folders(name)
    return Path("logs") / name / str(int(taken[0].name) + 1 if taken else 0)


def common_run_folder(config: Any) -> Path:
    """A new run's folder, the same in every process of the run.

    Lightning starts a computer's other processes with the command line and environment of the first. Processes started
    otherwise (torchrun, SLURM, one command per computer) find the number before the first writes, which waits for all.
    """
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]  # from the environment, when Lightning is imported
    if rank == 0 or RUN_DIR not in os.environ:
        os.environ[RUN_DIR] = str(next_run_folder(config_name(config.get("config"))))
    return Path(os.environ[RUN_DIR])


def relative(path: Path | str) -> str:
    """The path relative to the current folder if it lies below it, or else the full path."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)
