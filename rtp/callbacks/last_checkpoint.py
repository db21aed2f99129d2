"""The checkpoint to continue from."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rtp.callbacks.run_record import run_folder
from rtp.errors import UserError


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` in the run's folder, also when the run is interrupted by Ctrl-C or SIGTERM.

    It is not written when training stops by an error: the memory may be damaged then.

    Args:
        every_n_steps: Outer steps between two writes.

    Raises:
        UserError: If `every_n_steps` is below 1.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise UserError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save at every so many steps."""
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save when somebody stops the run."""
        if trainer.training and isinstance(exception, (KeyboardInterrupt, SIGTERMException)):
            self._save(trainer)
            path = run_folder(trainer) / "last.ckpt"
            print(f"\nstopped at step {trainer.global_step}; continue with --ckpt_path {path}")

    def _save(self, trainer: L.Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(run_folder(trainer) / "last.ckpt")
