"""Evaluation of a memory in validation and test: curves, `test.json` and the results for the table."""

from dataclasses import asdict
from functools import partial
from typing import Any

import lightning as L

from rtp.callbacks.progress import retraining_bar
from rtp.callbacks.run_record import write_test_report
from rtp.errors import UserError
from rtp.evaluation import extrapolation, image_recall  # noqa: F401  # they register their evaluators
from rtp.evaluation.base import EvaluatedSplit, EvaluationSettings
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import evaluator_of
from rtp.modules.distillation.base import Distillation, image_data


class RetrainingEvaluation(L.Callback):
    """Trains fresh networks on the recalled images and measures them on the validation or test split.

    In validation it logs `val/accuracy` and `val/accuracy_std`, which ModelCheckpoint and EarlyStopping can monitor; in
    `rtp test` it logs `test/...` and writes `test.json` into the run's folder. The module's evaluator, see
    `evaluator_of`, reads the whole split from the data module: `trainer.limit_val_batches` has no effect, except that 0
    turns validation off.

    Args:
        **settings: As in `EvaluationSettings`, with its errors.

    Attributes:
        settings: As given.
        results: Those of the last evaluation, the distilled images first.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = EvaluationSettings(**settings)
        self.results: list[Result] = []

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train and measure the validation networks; log mean and standard deviation of their accuracies."""
        self._evaluate(trainer, pl_module, "val")
        # every process has the same number, but Lightning wants to know how to reduce those of several
        pl_module.log("val/accuracy", self.results[0].mean, prog_bar=True, sync_dist=True)
        pl_module.log("val/accuracy_std", self.results[0].std, sync_dist=True)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train and measure all networks; log the accuracies and write them to `test.json`."""
        module = self._evaluate(trainer, pl_module, "test")
        for result in self.results:
            key = f"{result.training_set.replace(' ', '_')}_{result.architecture}"
            module.log(f"test/{key}", result.mean, sync_dist=True)
        module.log("test/accuracy", self.results[0].mean, sync_dist=True)
        module.log("test/accuracy_std", self.results[0].std, sync_dist=True)
        content = self.results[0].as_dict() | {
            "seed": self.settings.seed,
            "memory": None if module.memory_source is None else asdict(module.memory_source),
            "results": [result.as_dict() for result in self.results],
        }
        write_test_report(trainer, module, content)

    def _evaluate(self, trainer: L.Trainer, module: L.LightningModule, split: EvaluatedSplit) -> Distillation:
        if not isinstance(module, Distillation):
            raise UserError(
                "RetrainingEvaluation needs a module with a memory, such as MemoryDistillation, "
                f"got {type(module).__name__}"
            )
        data, evaluator = image_data(trainer, type(self).__name__), evaluator_of(module)(self.settings)
        self.results = evaluator.results(module, data, split, partial(retraining_bar, trainer))
        return module
