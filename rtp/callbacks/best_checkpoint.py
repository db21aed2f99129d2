"""The memory with the highest validation accuracy, kept as `best.ckpt`."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

BEST = "best.ckpt"


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt` in the run's folder, and the score to beat in every checkpoint, wherever the folder is moved.

    Lightning's callback forgets the score where the folder has another path than when the checkpoint was written; the
    next validation would replace `best.ckpt` by a worse memory.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor="val/accuracy",
            mode="max",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the score to beat from a checkpoint; the file that has it is the one in this folder, if there is one."""
        assert self.dirpath is not None
        here = Path(self.dirpath) / BEST
        if not state_dict["best_model_path"]:  # not validated yet
            state_dict = state_dict | {"dirpath": self.dirpath}
        elif here.exists():
            score, path = state_dict["best_model_score"], str(here)
            state_dict = state_dict | {
                "dirpath": self.dirpath,
                "best_model_path": path,
                "kth_best_model_path": path,
                "best_k_models": {path: score},
            }
        super().load_state_dict(state_dict)
