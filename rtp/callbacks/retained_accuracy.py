"""Evaluation of a continual learner: the accuracies that it retains on every stream task (section 5.2)."""

import logging
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from rtp.callbacks.run_record import write_test_report
from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError, first_line
from rtp.evaluation.retention import Retention
from rtp.modules.continual.base import Classifier, ContinualLearner
from rtp.modules.networks.training import num_correct
from rtp.runs.folders import run_folder
from rtp.utils.accuracy_map import accuracy_map
from rtp.utils.pictures import save_picture
from rtp.utils.stopwatch import Stopwatch

log = logging.getLogger(__name__)

CURVES = 5  # tasks at most with a curve of their own in TensorBoard; a hundred would hide each other


class RetainedAccuracy(L.Callback):
    """Measures a continual learner on every task that it has finished.

    After each task it logs `val/retained_accuracy`, the mean over the tasks so far, and `val/accuracy_task_XX` for a
    few tasks. At the end of the learning it draws the heat map of all of them, TensorBoard's `val/accuracy_matrix` and
    `accuracy_matrix.png` in the run's folder: once, as one of 100 tasks takes 0.2 s. `rtp test` logs RA, BTI, BWT and
    forgetting (see `Retention`), and writes them into `test.json`, with all accuracies, scenario, bytes and seconds.

    It draws from random streams of its own: training continues as if there had been no evaluation. A validation in the
    middle of a task is logged, but is not part of `history`.

    Attributes:
        history: Row t holds the accuracies on the validation samples of tasks 0..t right after task t; part of a
            checkpoint. A task that no validation follows has no row.
        retention: What the last test found, if there was one.
    """

    def __init__(self) -> None:
        self.history: list[list[float]] = []
        self.retention: Retention | None = None
        self._learning = Stopwatch()
        self._testing = Stopwatch(None)
        self._task_just_ended = False
        self._known: list[float] = []  # of the first tasks
        self._classifiers: list[Classifier] = []  # of the task that is being measured
        self._hits: list[list[int]] = []  # of each task after the known ones, a number for each classifier
        self._images: list[int] = []

    @property
    def learning_seconds(self) -> float | None:
        """Wall-clock seconds of training from its start to its end, part of a checkpoint.

        Writing checkpoints is included, validation is not. A continued run goes on from those of its checkpoint: what
        was learned after it is lost, and does not count. None if the run was started by an rtp that did not measure it.
        """
        return self._learning.seconds

    @property
    def evaluation_seconds(self) -> float | None:
        """Wall-clock seconds of the last test, None before one.

        A learner that trains networks to be tested, as compress, then recall does, trains them in this time.
        """
        return self._testing.seconds

    def state_dict(self) -> dict[str, Any]:
        """The accuracies after each task and the seconds so far."""
        return {"history": self.history, "learning_seconds": self.learning_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the accuracies and the seconds of a checkpoint."""
        self.history = state_dict["history"]
        self._learning = Stopwatch(state_dict.get("learning_seconds"))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the seconds of another run with the same callback; those of a checkpoint come after this."""
        if stage == "fit":
            self._learning = Stopwatch()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drop the rows of another run with the same callback; those of a checkpoint are of finished tasks."""
        finished = _learner(pl_module).finished_tasks
        self.history = [row for row in self.history if len(row) <= finished]
        self._learning.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: StreamBatch, batch_idx: int
    ) -> None:
        """Note whether a task has just ended."""
        self._task_just_ended = batch.last

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reuse accuracies that cannot have changed since the last validation of the run; a test measures all tasks."""
        self._learning.stop()
        learner, fitting = _learner(pl_module), trainer.state.fn == TrainerFn.FITTING
        if not fitting and not learner.finished_tasks:
            raise UserError("no task of the stream is finished yet: there is nothing to measure, so train longer")
        unchanged = fitting and not learner.keeps_changing and self.history
        self._known, self._hits, self._images = self.history[-1] if unchanged else [], [], []

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; see `on_validation_start`."""
        self._testing = Stopwatch()
        self._testing.start()
        self.on_validation_start(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure on one batch of a task, unless its accuracy is known or it is not finished."""
        learner, (images, labels) = _learner(pl_module), batch
        place = dataloader_idx - len(self._known)
        if place < 0 or dataloader_idx >= learner.finished_tasks:
            return
        if place == len(self._hits):
            self._classifiers = learner.classifiers(dataloader_idx)
            self._hits.append([0] * len(self._classifiers))
            self._images.append(0)
        for number, classifier in enumerate(self._classifiers):
            self._hits[place][number] += num_correct(classifier, images, labels)
        self._images[place] += len(labels)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the accuracies and append them to the history."""
        learner = _learner(pl_module)
        row = self._known + [sum(accuracies) / len(accuracies) for accuracies in self._concluded()]
        if not row:  # fast_dev_run alone validates before a task is finished
            return
        if trainer.state.fn == TrainerFn.FITTING and self._task_just_ended:
            self.history = [*self.history, row]
        learner.log("val/retained_accuracy", sum(row) / len(row), prog_bar=True)
        for task in torch.linspace(0, learner.num_tasks - 1, min(CURVES, learner.num_tasks)).long().tolist():
            if task < len(row):
                learner.log(f"val/accuracy_task_{task:02d}", row[task])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock of the learning go on."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._learning.start()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock and draw the heat map."""
        self._learning.stop()
        if not self.history or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        try:
            picture = accuracy_map(self.history)
            save_picture(picture, run_folder(trainer) / "accuracy_matrix.png")
            if isinstance(trainer.logger, TensorBoardLogger):
                trainer.logger.experiment.add_image("val/accuracy_matrix", picture, trainer.global_step)
        except (UserError, OSError, MemoryError) as error:  # a full disk must not end the training
            log.warning("the heat map of the accuracies is left out: %s", first_line(error))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log RA and its like, and write everything to `test.json`."""
        learner = _learner(pl_module)
        self.retention = Retention(self._concluded(), self.history, learner.keeps_changing)
        self._testing.stop()
        for name, value in self.retention.measures().items():
            if value is not None:
                learner.log(f"test/{name}", value)
        facts = {
            "scenario": learner.scenario,
            "learning_seconds": self.learning_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "learner": type(learner).__name__,
            "tasks": learner.num_tasks,
            "finished_tasks": int(learner.finished_tasks),
            "budget_bytes": learner.budget_bytes,
            "storage_bytes": learner.storage_bytes,
            "storage_floats": learner.storage_floats,
            "largest_storage_bytes": learner.largest_storage_bytes,
            "other_bytes": learner.other_bytes,
            "largest_other_bytes": learner.largest_other_bytes,
            "memory": None if learner.memory_source is None else asdict(learner.memory_source),
        }
        write_test_report(trainer, learner, self.retention.as_dict() | facts)

    def _concluded(self) -> list[list[float]]:
        self._classifiers = []  # frees their memory
        return [[hits / images for hits in row] for row, images in zip(self._hits, self._images, strict=True)]


def _learner(module: L.LightningModule) -> ContinualLearner:
    if not isinstance(module, ContinualLearner):
        raise UserError(
            "RetainedAccuracy needs a module that learns a stream of tasks, such as CompressThenRecall, "
            f"got {type(module).__name__}"
        )
    return module
