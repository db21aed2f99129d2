"""What a run was: its configuration beside it and inside its checkpoints, its hyper-parameters in TensorBoard."""

from functools import cached_property
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from rtp.modules.continual.base import ContinualLearner
from rtp.modules.distillation.base import Distillation
from rtp.runs.checkpoints import CONFIG_KEY
from rtp.runs.lightning_internals import event_writer


class RunRecord(SaveConfigCallback):
    """Saves the resolved configuration as `config.yaml`, in every checkpoint, and as hyper-parameters.

    TensorBoard's HPARAMS page shows the hyper-parameters with the last `val/accuracy` and, in a line of its own, with
    the last `test/accuracy`; for a stream of tasks these are the retained accuracies. The arguments are those of
    Lightning's SaveConfigCallback.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save the configuration in `fit` alone: to evaluate a run does not change what it was."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)
        if stage in ("fit", "test") and trainer.is_global_zero:
            metric = "retained_accuracy" if isinstance(pl_module, ContinualLearner) else "accuracy"
            self._show_settings(trainer, f"{'val' if stage == 'fit' else 'test'}/{metric}")

    def _show_settings(self, trainer: L.Trainer, metric: str) -> None:
        if isinstance(trainer.logger, TensorBoardLogger):
            settings = flat_settings(yaml.safe_load(self._text))
            trainer.logger.hparams.update(settings)
            # log_hyperparams would add a first point to the curve; here it is a name, and values come from the curve
            writer = event_writer(trainer.logger)
            for summary in hparams(settings, {metric: 0.0}):
                writer.add_summary(summary)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the storage, which does not change during a run."""
        if isinstance(pl_module, Distillation) and trainer.logger is not None:
            floats = pl_module.memory.storage_floats
            percent = 100 * floats / trainer.datamodule.num_floats  # type: ignore[attr-defined]
            trainer.logger.log_metrics(
                {"memory/storage_floats": floats, "memory/storage_percent": percent}, trainer.global_step
            )

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration into the checkpoint, so that the file stands alone."""
        checkpoint[CONFIG_KEY] = self._text

    @cached_property
    def _text(self) -> str:
        # takes a hundred times as long as writing a small checkpoint
        return str(self.parser.dump(self.config, skip_none=False))


def flat_settings(config: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Flatten a nested configuration to what TensorBoard's HPARAMS page can show.

    Args:
        config: The resolved configuration.

    Returns:
        Dotted names without `class_path` and `init_args`, class names without their modules, no empty values.
    """
    flat: dict[str, bool | int | float | str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(prefix if key in ("class_path", "init_args") else f"{prefix}.{key}".lstrip("."), inner)
        elif isinstance(value, (bool, int, float, str)):
            flat[prefix] = value.rsplit(".", 1)[-1] if isinstance(value, str) and "/" not in value else value
        elif isinstance(value, list):
            flat[prefix] = ", ".join(str(item) for item in value)

    for section in ("model", "data", "evaluation"):
        add(section, config.get(section))
    flat["seed_everything"] = config["seed_everything"]
    return flat
