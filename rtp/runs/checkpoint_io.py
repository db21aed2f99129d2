"""Atomic writes of checkpoints: readers find the whole old or new file, even if the run is killed."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from rtp.errors import UserError
from rtp.runs.checkpoints import LAST, PREVIOUS
from rtp.utils.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for checkpoint files, with atomic writes; the replaced `last.ckpt` becomes `previous.ckpt`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, creating its folder; raise UserError if it cannot be written."""
        target = Path(path)
        try:
            with atomic_write(target, previous=target.with_name(PREVIOUS) if target.name == LAST else None) as file:
                torch.save(checkpoint, file)
        except OSError as error:
            resumable = any((target.parent / name).is_file() for name in (LAST, PREVIOUS))
            then = f"continue with --ckpt_path last --run_dir {target.parent}" if resumable else "start another run"
            raise UserError(
                f"the checkpoint {target} cannot be written ({error.strerror}): make room, then {then}"
            ) from error
