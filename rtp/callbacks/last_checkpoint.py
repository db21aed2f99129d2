"""The checkpoint from which a run is continued."""

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rtp.errors import UserError
from rtp.runs.checkpoints import LAST
from rtp.runs.folders import run_folder
from rtp.runs.lightning_internals import validation_follows
from rtp.runs.trainer import outer_steps
from rtp.utils.checks import check_at_least


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` into the run's folder: every so many steps and minutes, at the end, and when a run is stopped.

    It is written after an outer step and its validation, if due, so that a continued run equals an uninterrupted one:
    Ctrl-C and SIGTERM take effect then. A validation that is not finished 20 s after a SIGTERM is given up; the
    previous checkpoint is kept. A second Ctrl-C stops at once and writes nothing, nor does an error: the memory may be
    damaged.

    Args:
        every_n_steps: Outer steps between two writes, at least 1.
        every_n_minutes: Minutes after which it is written at the next step in any case, above 0.

    Raises:
        UserError: If an argument is out of its range.
    """

    def __init__(self, every_n_steps: int = 100, every_n_minutes: float = 10) -> None:
        check_at_least("every_n_steps", every_n_steps, 1)
        if not every_n_minutes > 0:
            raise UserError(f"every_n_minutes must be above 0, got {every_n_minutes}")
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self._written_at = 0.0
        self._written_step: int | None = None
        self._step_before = 0
        self._log_is_behind = False
        self._stop = False
        self._hung_up = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; from now on Ctrl-C and a closed terminal stop the run after the step."""
        self._written_at = time.monotonic()
        self._stop = self._hung_up = False
        if threading.current_thread() is threading.main_thread():
            self._handlers = {signal.SIGINT: signal.signal(signal.SIGINT, self._on_interrupt)}
            if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
                self._handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_hangup)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Write the curves to disk too: the saved step's points were logged after its checkpoint."""
        self._step_before = outer_steps(trainer)
        if self._log_is_behind:
            self._log_is_behind = False
            for logger in trainer.loggers:
                logger.save()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save after a step that no validation follows."""
        # Lightning would take the step of a checkpoint written before its validation for validated
        if not validation_follows(trainer):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after a step's validation. Lightning calls this after ModelCheckpoint's, whose best score is saved."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save_if_due(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Print how to continue a run that was stopped."""
        if not isinstance(exception, KeyboardInterrupt):  # Lightning ignores Ctrl-C while it shuts down
            self.teardown(trainer, pl_module, "fit")
        if isinstance(exception, (KeyboardInterrupt, SIGTERMException)) and trainer.state.fn == TrainerFn.FITTING:
            self._print_how_to_continue(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Restore the handlers of signals."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        # not print: a handler may run in the middle of one
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    def _on_hangup(self, signum: int, frame: FrameType | None) -> None:
        self._hung_up = True

    def _save_if_due(self, trainer: L.Trainer) -> None:
        if outer_steps(trainer) == self._step_before:
            return  # gradients are being accumulated, and a checkpoint does not hold them
        stopped = self._stop or self._hung_up or trainer.received_sigterm
        minutes = (time.monotonic() - self._written_at) / 60
        due = stopped or outer_steps(trainer) % self.every_n_steps == 0 or minutes >= self.every_n_minutes
        # clocks and signals differ between processes, but all of them have to write, or stop, after the same step
        if not trainer.strategy.reduce_boolean_decision(due, all=False):
            return
        self._save(trainer)
        if trainer.strategy.reduce_boolean_decision(self._stop, all=False):
            raise KeyboardInterrupt
        if trainer.strategy.reduce_boolean_decision(self._hung_up, all=False):
            raise SIGTERMException(128 + signal.SIGHUP)

    def _save(self, trainer: L.Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(run_folder(trainer) / LAST)
            self._written_at = time.monotonic()
            self._written_step = outer_steps(trainer)
            self._log_is_behind = True

    @rank_zero_only
    def _print_how_to_continue(self, trainer: L.Trainer) -> None:
        path = run_folder(trainer) / LAST
        step = "" if self._written_step is None else f", of step {self._written_step}"
        advice = f"; continue with --ckpt_path {path}{step}" if path.is_file() else ", before the first checkpoint"
        with suppress(OSError):  # the terminal is gone
            print(f"\nstopped at step {outer_steps(trainer)}{advice}", flush=True)
