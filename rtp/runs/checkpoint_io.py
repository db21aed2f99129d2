"""Writing checkpoints so that a reader finds the old file or the new one, whole, whenever the run is killed."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins import TorchCheckpointIO

from rtp.errors import UserError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""Files of a run's folder: the checkpoint to continue from, and the one that was it before."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for checkpoints as files, with writes that cannot be torn.

    A checkpoint is written under another name in the same folder, brought to the disk and then renamed. The file that
    a `last.ckpt` replaces stays beside it as `previous.ckpt`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning collected.
            path: File to write; its folder is made where it is missing.
            storage_options: Lightning's argument for other plugins, always None.

        Raises:
            UserError: If the file cannot be written.
        """
        target = Path(path)
        # one name for all attempts: what a killed run left behind is overwritten, not kept for ever
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if target.name == LAST and target.exists():
                os.replace(target, target.with_name(PREVIOUS))
            os.replace(part, target)
            _sync_folder(target.parent)
        except OSError as error:
            raise UserError(
                f"the checkpoint {target} cannot be written ({error.strerror}): make room or choose another --run_dir, "
                "then continue with --ckpt_path last"
            ) from error


def _sync_folder(folder: Path) -> None:
    """Bring the new names to the disk: a file's own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
