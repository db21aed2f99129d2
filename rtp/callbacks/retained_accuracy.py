"""Evaluation of a continual learner: what it still knows of every task (section 5.2)."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.evaluation.retention import Retention
from rtp.modules.continual.base import Classifier, ContinualLearner
from rtp.modules.networks.training import num_correct
from rtp.runs.folders import run_folder
from rtp.utils.files import write_json
from rtp.version import __version__

CURVES = 5
"""Tasks at most whose accuracy has a curve of its own in TensorBoard; a hundred of them would hide each other."""


class RetainedAccuracy(L.Callback):
    """Measures a continual learner on every task that it has finished.

    After each task it logs `val/retained_accuracy`, the mean over the tasks so far, and `val/accuracy_task_XX` for a
    few tasks; `rtp test` writes `test.json` with RA, BTI and all accuracies into the run's folder. It draws no random
    numbers but those that a learner keeps for this purpose: training goes on as if there had been no evaluation.

    A validation in the middle of a task is logged, but it is not part of `history`.

    Attributes:
        history: Row t holds the accuracies on the validation samples of tasks 0..t right after task t; part of a
            checkpoint. A task that no validation follows has no row.
        retention: What the last test found, if there was one.
    """

    def __init__(self) -> None:
        self.history: list[list[float]] = []
        self.retention: Retention | None = None
        self._task_just_ended = False
        self._known: list[float] = []  # of the first tasks
        self._classifiers: list[Classifier] = []  # of the task that is being measured
        self._hits: list[list[int]] = []  # of each task after the known ones, a number for each classifier
        self._images: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        """The accuracies after each task."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the accuracies of a checkpoint."""
        self.history = state_dict["history"]

    # Validation ------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what another run with the same callback found; rows of a checkpoint are of finished tasks."""
        finished = _learner(pl_module).finished_tasks
        self.history = [row for row in self.history if len(row) <= finished]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: StreamBatch, batch_idx: int
    ) -> None:
        """Note whether a validation that follows is one right after a task."""
        self._task_just_ended = batch.last

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over what cannot have changed since the last validation of the run."""
        learner, fitting = _learner(pl_module), trainer.state.fn == TrainerFn.FITTING
        if not fitting:
            _require_finished(learner)
        unchanged = fitting and not learner.keeps_changing and self.history
        self._start(self.history[-1] if unchanged else [])

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure on one batch of a task, unless that is known or the task has not been learned."""
        self._measure(_learner(pl_module), batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the accuracies and remember them."""
        learner = _learner(pl_module)
        row = self._known + [sum(accuracies) / len(accuracies) for accuracies in self._concluded()]
        if not row:  # fast_dev_run alone validates before a task is finished
            return
        if trainer.state.fn == TrainerFn.FITTING and self._task_just_ended:
            self.history = [*self.history, row]
        learner.log("val/retained_accuracy", sum(row) / len(row), prog_bar=True)
        shown = torch.linspace(0, learner.num_tasks - 1, min(CURVES, learner.num_tasks)).long().tolist()
        for task in shown:
            if task < len(row):
                learner.log(f"val/accuracy_task_{task:02d}", row[task])

    # Test ------------------------------------------------------------------------------------------------------

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure every finished task."""
        _require_finished(_learner(pl_module))
        self._start([])

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure on one batch of a task."""
        self._measure(_learner(pl_module), batch, dataloader_idx)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log RA and write everything to `test.json`."""
        learner = _learner(pl_module)
        self.retention = Retention(self._concluded(), self.history, learner.keeps_changing)
        learner.log("test/retained_accuracy", self.retention.retained_accuracy)
        if trainer.is_global_zero:
            write_json(run_folder(trainer) / "test.json", self.retention.as_dict() | _facts(trainer, learner))

    # Both ------------------------------------------------------------------------------------------------------

    def _start(self, known: list[float]) -> None:
        self._known, self._hits, self._images = known, [], []

    def _measure(self, learner: ContinualLearner, batch: tuple[Tensor, Tensor], task: int) -> None:
        place = task - len(self._known)
        if place < 0 or task >= learner.finished_tasks:
            return
        if place == len(self._hits):
            self._classifiers = learner.classifiers(task)
            self._hits.append([0] * len(self._classifiers))
            self._images.append(0)
        images, labels = batch
        for number, classifier in enumerate(self._classifiers):
            self._hits[place][number] += num_correct(classifier, images, labels)
        self._images[place] += len(labels)

    def _concluded(self) -> list[list[float]]:
        self._classifiers = []  # they are not needed any more
        return [[hits / images for hits in row] for row, images in zip(self._hits, self._images, strict=True)]


def _facts(trainer: L.Trainer, learner: ContinualLearner) -> dict[str, Any]:
    return {
        "learner": type(learner).__name__,
        "dataset": trainer.datamodule.name,  # type: ignore[attr-defined]
        "split": "test",
        "tasks": learner.num_tasks,
        "finished_tasks": int(learner.finished_tasks),
        "budget_floats": learner.budget_floats,
        "storage_floats": learner.storage_floats,
        "steps": learner.trained_steps,
        "checkpoint": None if trainer.ckpt_path is None else Path(trainer.ckpt_path).name,
        "device": str(learner.device),
        "rtp_version": __version__,
        "torch_version": torch.__version__,
    }


def _learner(module: L.LightningModule) -> ContinualLearner:
    if not isinstance(module, ContinualLearner):
        raise UserError(
            f"RetainedAccuracy needs a module that learns a stream of tasks, such as CompressThenRecall, "
            f"got {type(module).__name__}"
        )
    return module


def _require_finished(learner: ContinualLearner) -> None:
    if not learner.finished_tasks:
        raise UserError("no task of the stream is finished yet: there is nothing to measure, so train longer")
