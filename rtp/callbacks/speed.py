"""How fast the outer loop runs."""

import time
from typing import Any

import lightning as L

from rtp.runs.trainer import outer_steps


class TrainingSpeed(L.Callback):
    """Logs `train/steps_per_second`, outer steps over wall-clock time since the last time it was logged.

    Time spent in validation does not count.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = 0.0
        self._started = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Stop the clock; log and start afresh every `log_every_n_steps` steps."""
        self._seconds += time.perf_counter() - self._started
        self._steps += 1
        if outer_steps(trainer) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            pl_module.log("train/steps_per_second", self._steps / self._seconds)
            self._steps, self._seconds = 0, 0.0
