"""Opening checkpoints, and the configuration that they carry."""

from pathlib import Path
from typing import Any

import torch
import yaml

from rtp.callbacks.run_record import CONFIG_KEY
from rtp.errors import UserError


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
        UserError: If the file is missing, truncated or something else.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {str(path)!r}: give the path of a .ckpt file of a run")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the unpickler or the zip reader stumbles over
        raise UserError(f"{path} is damaged or not a checkpoint ({type(error).__name__}): use another one") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint: use another one")
    return checkpoint
