"""An exponential moving average of the memory over outer steps."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from rtp.utils.averages import moving_average
from rtp.utils.checks import check_in


class MemoryAverage(WeightAveraging):
    """Averages the memory over outer steps; validation, checkpoints and what is exported take the average.

    phi_bar <- d phi_bar + (1 - d) phi after each outer step, d = min(`decay`, n / (n + 10)) in step n. Training goes on
    with phi itself. A deviation from the paper, which tests the last memory.

    Lightning's callback, with the average in place for the whole of a validation: `RetrainingEvaluation` measures
    before the validation's epoch starts, and `BestMemory` and pictures look at the memory after it has ended.

    Args:
        decay: In [0, 1); an average over about 1 / (1 - decay) steps.

    Raises:
        UserError: If `decay` is out of its range.
    """

    def __init__(self, decay: float = 0.98) -> None:
        check_in("decay", decay, "[0, 1)")
        # buffers: the tables of classes of `TaskMemories`
        super().__init__(use_buffers=False, avg_fn=moving_average(decay))
        self.decay = decay
        self._in_place = False

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average into the module."""
        if self._average_model is not None and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Do nothing: the average is in place."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Do nothing: the average stays until training goes on or a checkpoint is written."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put back the memory that is trained."""
        self._restore(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put back the memory that is trained, for the last checkpoint."""
        self._restore(pl_module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the average in the module."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)
            self._average_model = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the module's state, and the trained memory beside it."""
        if self._in_place:
            self._restore(pl_module)
            checkpoint["state_dict"] = pl_module.state_dict()
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def _restore(self, pl_module: L.LightningModule) -> None:
        if self._in_place:
            self._swap(pl_module)

    def _swap(self, pl_module: L.LightningModule) -> None:
        self._swap_models(pl_module)
        self._in_place = not self._in_place
