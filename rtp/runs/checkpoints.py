"""Loading checkpoints, finding the one to resume from, and the configuration they contain."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from rtp.errors import UserError
from rtp.runs.checkpoint_io import LAST, PREVIOUS

CONFIG_KEY = "rtp_config"
"""Where a checkpoint holds the resolved configuration, as YAML text."""
RESUMED = ("global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")
"""Lightning's entries of a checkpoint for resuming, besides the module's tensors."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a Lightning checkpoint without executing any code in it.

    Raises:
        UserError: If the file is missing, truncated or no checkpoint; names a good one of the same folder.
    """
    try:
        return _load(path)
    except UserError as error:
        raise UserError(f"{error}: {_advice(path)}") from error


def checkpoint_config(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The machine-independent configuration in a checkpoint: seed, model, data, evaluation and pictures, keys sorted.

    Raises:
        UserError: If the checkpoint is not from rtp; names its path.
    """
    if CONFIG_KEY not in checkpoint:
        raise UserError(f"{path} was not written by `rtp fit`: give its configuration with --config")
    config = yaml.safe_load(checkpoint[CONFIG_KEY])
    kept = {key: config[key] for key in ("seed_everything", "model", "data", "evaluation", "pictures")}
    return yaml.safe_load(yaml.safe_dump(kept))  # sorted, whatever the order of the options


def steps_done(path: Path) -> int:
    """Check that a run can be resumed from a checkpoint, and return its outer steps.

    Raises:
        UserError: If the file is missing, truncated or not from `rtp fit`; names a good one of the same folder.
    """
    checkpoint = load_checkpoint(path)
    if missing := [key for key in (*RESUMED, CONFIG_KEY) if key not in checkpoint]:
        raise UserError(f"{path} was not written by `rtp fit`, it has no {missing[0]}: {_advice(path)}")
    return int(checkpoint["global_step"])


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int, str]:
    """The checkpoint to resume from: `last.ckpt` of the first folder that has one, or else its `previous.ckpt`.

    Args:
        folders: Folders of runs, the newest first.

    Returns:
        The file, its outer steps, and the error of a damaged `last.ckpt` or "".

    Raises:
        UserError: If no folder has a checkpoint yet, or both of the first folder that has one are damaged.
    """
    for folder in folders:
        last, previous = folder / LAST, folder / PREVIOUS
        if last.is_file():
            try:
                return last, steps_done(last), ""
            except UserError as error:
                try:
                    return previous, steps_done(previous), str(error).partition(":")[0]
                except UserError:
                    raise error from None
        if previous.is_file():  # the run was killed between two renamings
            return previous, steps_done(previous), ""
    where = ", ".join(map(str, folders[:1])) or "this folder's logs"
    raise UserError(f"there is no checkpoint in {where} yet: start the run without --ckpt_path, in another --run_dir")


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {str(path)!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any error of the unpickler or the zip reader
        raise UserError(f"{path} is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint")
    return checkpoint


def _advice(path: Path) -> str:
    for other in (path.with_name(LAST), path.with_name(PREVIOUS)):
        try:
            checkpoint = _load(other)
        except UserError:
            continue
        if other != path and CONFIG_KEY in checkpoint:
            return f"use {other}, of step {checkpoint['global_step']}"
    return "give the path of a .ckpt file of a run"
