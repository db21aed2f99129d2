"""Atomic writes of checkpoints: a reader finds the old file or the new one, whole, whenever the run is killed."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from rtp.errors import UserError
from rtp.utils.files import atomic_write

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""Files of a run's folder: the checkpoint to continue from, and the one that was it before."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for checkpoints as files, with atomic writes.

    The file that a `last.ckpt` replaces is kept beside it as `previous.ckpt`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning collected.
            path: File to write; its folder is made where it is missing.
            storage_options: Lightning's argument for other plugins, always None.

        Raises:
            UserError: If the file cannot be written.
        """
        target = Path(path)
        try:
            with atomic_write(target, previous=target.with_name(PREVIOUS) if target.name == LAST else None) as file:
                torch.save(checkpoint, file)
        except OSError as error:
            raise UserError(
                f"the checkpoint {target} cannot be written ({error.strerror}): make room or choose another --run_dir, "
                "then continue with --ckpt_path last"
            ) from error
