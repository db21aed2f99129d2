"""What a run was: its configuration beside it and in its checkpoints, hyper-parameters in TensorBoard, `test.json`."""

from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from rtp.modules.continual.base import ContinualLearner
from rtp.modules.distillation.base import Distillation
from rtp.modules.distillation.resumable import ResumableModule
from rtp.runs.checkpoints import CONFIG_KEY, flat_settings
from rtp.runs.float32_products import float32_products
from rtp.runs.folders import run_folder
from rtp.runs.lightning_internals import event_writer
from rtp.utils.files import new_file, write_json
from rtp.version import __version__


class RunRecord(SaveConfigCallback):
    """Saves the resolved configuration as the run's `config.yaml`, in every checkpoint, and as hyper-parameters.

    TensorBoard's HPARAMS page shows the hyper-parameters with the last `val/accuracy` and, in a line of its own, with
    the last `test/accuracy`; for a stream of tasks these are the retained accuracies. The arguments are Lightning's;
    `save_to_log_dir` is to be False, as Lightning would leave an empty file on a full disk.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save the configuration in `fit` alone: evaluating a run does not change what it was."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)
        if stage in ("fit", "test") and trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            split, learner = "val" if stage == "fit" else "test", isinstance(pl_module, ContinualLearner)
            metric = f"{split}/retained_accuracy" if learner else f"{split}/accuracy"
            settings = flat_settings(yaml.safe_load(self._text))
            trainer.logger.hparams.update(settings)
            # log_hyperparams would add a first point to the curve; here it is a name, and values come from the curve
            writer = event_writer(trainer.logger)
            for summary in hparams(settings, {metric: 0.0}):
                writer.add_summary(summary)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write `config.yaml` as a whole; raise UserError if it cannot be written."""
        with new_file(run_folder(trainer) / self.config_filename, self.overwrite) as file:
            file.write(self._text.encode())

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the storage, which does not change during a run."""
        if isinstance(pl_module, Distillation) and trainer.logger is not None:
            memory, data = pl_module.memory, trainer.datamodule  # type: ignore[attr-defined]
            storage = {
                "memory/storage_floats": memory.storage_floats,
                "memory/bits_per_class": 8 * pl_module.storage_bytes / data.num_classes,
                "memory/storage_percent": 100 * pl_module.budget_floats / data.num_floats,
            }
            trainer.logger.log_metrics(storage, trainer.global_step)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration into the checkpoint, so that the file stands alone."""
        checkpoint[CONFIG_KEY] = self._text

    @cached_property
    def _text(self) -> str:
        # takes a hundred times as long as writing a small checkpoint
        return str(self.parser.dump(self.config, skip_none=False))


@rank_zero_only
def write_test_report(trainer: L.Trainer, module: ResumableModule, results: dict[str, Any]) -> None:
    """Write results and what they were measured on into `test.json` of the run's folder."""
    report = results | {
        "dataset": trainer.datamodule.name,  # type: ignore[attr-defined]
        "split": "test",
        "steps": module.trained_steps,
        "checkpoint": None if trainer.ckpt_path is None else Path(trainer.ckpt_path).name,
        "device": str(module.device),
        "float32_products": float32_products(module.device),
        "rtp_version": __version__,
        "torch_version": torch.__version__,
    }
    write_json(run_folder(trainer) / "test.json", report)
