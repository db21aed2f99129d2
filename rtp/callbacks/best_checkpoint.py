"""The memory with the highest validation accuracy, kept as `best.ckpt` or in the program."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from rtp.modules.distillation.base import Distillation
from rtp.runs.checkpoints import BEST
from rtp.runs.trainer import outer_steps

MONITOR = "val/accuracy"


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt` in the run's folder, and the best score in every checkpoint, even if the folder is moved.

    Lightning's callback drops the score if the folder's path has changed since the checkpoint was written; the next
    validation would then replace `best.ckpt` by a worse memory.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor=MONITOR,
            mode="max",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score from a checkpoint; its file is the one in this folder, if any."""
        assert self.dirpath is not None
        here = Path(self.dirpath) / BEST
        if not state_dict["best_model_path"]:  # not validated yet
            state_dict = state_dict | {"dirpath": self.dirpath}
        elif here.exists():
            path = str(here)
            state_dict = state_dict | {
                "dirpath": self.dirpath,
                "best_model_path": path,
                "kth_best_model_path": path,
                "best_k_models": {path: state_dict["best_model_score"]},
            }
        super().load_state_dict(state_dict)


class BestMemory(L.Callback):
    """Keeps the memory that `BestCheckpoint` would write, without a file.

    Attributes:
        score: Its validation accuracy; below 0 before the first validation.
        steps: The outer steps that it was trained for.
        state: Its `state_dict`, on the CPU.
    """

    def __init__(self) -> None:
        self.score = -1.0
        self.steps = 0
        self.state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the memory if it is better than those before."""
        score = float(trainer.callback_metrics[MONITOR])
        if score > self.score and isinstance(pl_module, Distillation):
            self.score, self.steps = score, outer_steps(trainer)
            self.state = {name: value.detach().cpu().clone() for name, value in pl_module.memory.state_dict().items()}
