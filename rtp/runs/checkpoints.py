"""Opening checkpoints, choosing the one to continue from, and the configuration that they carry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from rtp.callbacks.run_record import CONFIG_KEY
from rtp.errors import UserError
from rtp.runs.checkpoint_io import LAST, PREVIOUS

RESUMED = ("global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")
"""What Lightning puts into a checkpoint to go on from it, beside the module's tensors."""


def checkpoint_config(path: Path) -> str:
    """Read the configuration that a checkpoint carries, less what belongs to the machine it was written on.

    Args:
        path: A checkpoint that `rtp fit` wrote.

    Returns:
        YAML text with the seed, model, data and evaluation.

    Raises:
        UserError: If the file is missing, truncated or not from rtp.
    """
    checkpoint = read_checkpoint(path)
    if CONFIG_KEY not in checkpoint:
        raise UserError(f"{path} was not written by `rtp fit`: give its configuration with --config")
    config = yaml.safe_load(checkpoint[CONFIG_KEY])
    kept = ("seed_everything", "model", "data", "evaluation", "pictures")
    return yaml.safe_dump({key: config[key] for key in kept})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Open a checkpoint without running any code that it may hold.

    Args:
        path: A checkpoint of Lightning's.

    Raises:
        UserError: If the file is missing, truncated or something else; it names a good one of the same folder.
    """
    try:
        return _opened(path)
    except UserError as error:
        raise UserError(f"{error}: {_advice(path)}") from error


def resumable(path: Path) -> int:
    """Check that a run can go on from a checkpoint.

    Args:
        path: A checkpoint that `rtp fit` wrote.

    Returns:
        The outer steps that were done.

    Raises:
        UserError: If the file is missing, truncated or not from `rtp fit`; it names a good one of the same folder.
    """
    checkpoint = read_checkpoint(path)
    if missing := [key for key in (*RESUMED, CONFIG_KEY) if key not in checkpoint]:
        raise UserError(f"{path} was not written by `rtp fit`, it has no {missing[0]}: {_advice(path)}")
    return int(checkpoint["global_step"])


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int, str]:
    """The checkpoint to go on from: `last.ckpt` of the first folder that has one, or else its `previous.ckpt`.

    Args:
        folders: Folders of runs, the newest first.

    Returns:
        The file, the outer steps that were done, and what is wrong with a `last.ckpt` that was passed over, or nothing.

    Raises:
        UserError: If no folder has a checkpoint yet, or both of the first folder that has one are damaged.
    """
    for folder in folders:
        last, previous = folder / LAST, folder / PREVIOUS
        if last.is_file():
            try:
                return last, resumable(last), ""
            except UserError as error:
                if not _good(previous):
                    raise
                return previous, resumable(previous), str(error).partition(":")[0]
        if previous.is_file():  # the run was killed between two renamings
            return previous, resumable(previous), ""
    where = ", ".join(map(str, folders[:1])) or "this folder's logs"
    raise UserError(f"there is no checkpoint in {where} yet: start the run without --ckpt_path, in another --run_dir")


def _opened(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {str(path)!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the unpickler or the zip reader stumbles over
        raise UserError(f"{path} is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint")
    return checkpoint


def _good(path: Path) -> bool:
    try:
        return CONFIG_KEY in _opened(path)
    except UserError:
        return False


def _advice(path: Path) -> str:
    """What to use in place of a file that is no use."""
    for other in (path.with_name(LAST), path.with_name(PREVIOUS)):
        if other != path and _good(other):
            return f"use {other}, of step {_opened(other)['global_step']}"
    return "give the path of a .ckpt file of a run"
