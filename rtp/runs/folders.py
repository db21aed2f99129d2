"""Folders of runs: logs/NAME/NUMBER."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from rtp.errors import UserError
from rtp.runs.checkpoints import LAST, PREVIOUS
from rtp.utils.files import locked

RUN_DIR = "RTP_RUN_DIR"
"""Environment variable by which the first process passes the run's folder to the processes it starts."""
RUN_LOCK = ".lock"
"""File in a run's folder that the process which trains there has locked."""


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


def resumable_folders(name: str) -> list[Path]:
    """All folders below logs/NAME, of any name, with a checkpoint to resume from: the one written last first."""
    written = {
        folder: max(file.stat().st_mtime_ns for file in files)
        for folder in (Path("logs") / name).glob("*")
        if (files := [file for file in (folder / LAST, folder / PREVIOUS) if file.is_file()])
    }
    return sorted(written, key=lambda folder: written[folder], reverse=True)


def next_run_folder(name: str) -> Path:
    """The first of logs/NAME/0, logs/NAME/1, ... that does not exist, above all that do."""
    taken = run_folders(name)
    return Path("logs") / name / str(int(taken[0].name) + 1 if taken else 0)


def new_run_folder(name: str) -> Path:
    """Create the next numbered folder; of several processes that ask at once each gets its own.

    Raises:
        UserError: If it cannot be made.
    """
    while True:
        folder = next_run_folder(name)
        with suppress(FileExistsError):
            make_run_folder(folder.parent)
            folder.mkdir()
            return folder


def make_run_folder(folder: Path) -> None:
    """Create a folder and those above; raise UserError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the run folder {folder} cannot be made ({error.strerror}): choose another place with --run_dir"
        ) from error


def common_run_folder(config: Any) -> Path:
    """A new run's folder, the same in every process of the run.

    Lightning starts a computer's other processes with the command line and environment of the first. Processes started
    otherwise (torchrun, SLURM, one command per computer) find the number before the first writes, which waits for all.
    """
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]  # from the environment, when Lightning is imported
    if rank == 0 or RUN_DIR not in os.environ:
        together = any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
        name = config_name(config.get("config"))
        os.environ[RUN_DIR] = str(next_run_folder(name) if rank or together else new_run_folder(name))
    return Path(os.environ[RUN_DIR])


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run's folder.

    Raises:
        UserError: If one does already.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]  # the first process of a run holds it for all
        yield
        return
    make_run_folder(folder)
    with locked(folder / RUN_LOCK, wait=False) as ours:
        if not ours:
            raise UserError(f"another process trains in {folder}: wait for it, or choose another --run_dir")
        yield


def relative(path: Path | str) -> str:
    """The path relative to the current folder if it lies below it, or else the full path."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)
