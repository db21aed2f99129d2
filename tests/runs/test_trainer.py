"""What runs from the command line and from a program share."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rtp.runs.trainer import outer_steps, quiet_lightning


class Counting(LightningModule):
    """Updates by itself, or by hand three times a batch."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.automatic_optimization = not by_hand
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.counted: list[int] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.counted.append(outer_steps(self.trainer))
        if not self.automatic_optimization:
            for _ in range(3):
                self.optimizers().step()  # type: ignore[union-attr]
        return self.weight.sum()

    def on_train_batch_end(self, *_: Any) -> None:
        self.counted.append(outer_steps(self.trainer))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_minibatch_is_a_step_however_many_updates_it_takes(by_hand: bool, tmp_path: Path) -> None:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Counting(by_hand)
    trainer.fit(module, DataLoader(torch.zeros(2, 1)))  # type: ignore[arg-type]
    assert module.counted == [0, 1, 1, 2, 2, 3, 3, 4]
    assert trainer.global_step == (12 if by_hand else 4)


def test_remarks_are_left_out_and_what_was_set_comes_back(recwarn: pytest.WarningsRecorder) -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level, list(warnings.filters)
    with quiet_lightning():
        assert logger.level == logging.WARNING
        warnings.warn("Checkpoint directory /here exists and is not empty.", stacklevel=1)
        assert not recwarn.list
    assert (logger.level, list(warnings.filters)) == before
