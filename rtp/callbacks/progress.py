"""Progress bars: one for the outer loop, one for the networks that an evaluation trains."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tqdm import tqdm

GRACE = 20.0
"""Seconds that an evaluation may go on after SIGTERM: queues such as Slurm and Kubernetes kill after 30."""


class OuterLoopBar(TQDMProgressBar):
    """Lightning's bar for the outer steps; an evaluation has the one of `retraining_bar` alone."""

    def _no_bar(self) -> Tqdm:
        return Tqdm(disable=True)

    init_validation_tqdm = init_test_tqdm = _no_bar

    @property
    def total_train_batches(self) -> int | float:
        """All batches of the run; Lightning gives those left, which a resumed run's number of the batch exceeds."""
        return self.trainer.num_training_batches


@contextmanager
def retraining_bar(trainer: L.Trainer, epochs: int) -> Iterator[Callable[[], Any]]:
    """Show the progress of retraining networks, unless the trainer's own progress bar is off.

    Args:
        trainer: The run's.
        epochs: Epochs of all networks together.

    Yields:
        A function to call after each epoch.

    Raises:
        SIGTERMException: If the evaluation is not finished `GRACE` seconds after SIGTERM.
    """
    hidden = trainer.progress_bar_callback is None or not trainer.is_global_zero
    with tqdm(total=epochs, desc="retraining networks", unit="epoch", leave=False, disable=hidden) as bar:
        told_at: list[float] = []

        def on_epoch() -> None:
            bar.update()
            # with several processes the others would wait: they stop after the validation, when all have the signal
            if trainer.received_sigterm and trainer.world_size == 1:
                told_at.append(time.monotonic())
                if told_at[-1] - told_at[0] > GRACE:
                    raise SIGTERMException

        yield on_epoch
