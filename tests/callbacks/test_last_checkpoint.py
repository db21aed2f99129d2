"""When `last.ckpt` is written; that a run goes on from it is seen in tests/test_cli.py."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from rtp.callbacks import LastCheckpoint
from rtp.datamodules.sampling import Batches


def run(folder: Path, every: int, stop: BaseException | None = None) -> list[int]:
    """Train 5 steps, with an exception at the start of step 3 (counted from 0); return the steps saved."""
    saved = []

    class Recorded(LastCheckpoint):
        def _save(self, trainer: L.Trainer) -> None:
            super()._save(trainer)
            saved.append(int(torch.load(folder / "last.ckpt", weights_only=True)["global_step"]))

    class Module(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if stop is not None and batch_idx == 3:
                raise stop
            return super().training_step(batch, batch_idx)

        def train_dataloader(self) -> Any:
            return Batches([torch.zeros(1, 32)] * 5)

    trainer = L.Trainer(
        max_epochs=1,
        callbacks=[Recorded(every)],
        logger=False,
        default_root_dir=folder,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    with nullcontext() if stop is None else pytest.raises((SystemExit, RuntimeError)):
        trainer.fit(Module())
    return saved


def test_it_is_written_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    assert run(tmp_path, every=2) == [2, 4, 5]


def test_it_is_written_on_ctrl_c(tmp_path: Path) -> None:
    assert run(tmp_path, every=2, stop=KeyboardInterrupt()) == [2, 3]


def test_it_is_not_written_when_training_breaks(tmp_path: Path) -> None:
    assert run(tmp_path, every=2, stop=RuntimeError("broken")) == [2]


def test_it_writes_nothing_in_a_fast_dev_run(tmp_path: Path) -> None:
    trainer = L.Trainer(
        fast_dev_run=2, callbacks=[LastCheckpoint(1)], logger=False, default_root_dir=tmp_path, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    module = BoringModel()
    module.train_dataloader = lambda: Batches([torch.zeros(1, 32)] * 2)  # type: ignore[method-assign,assignment,return-value]
    trainer.fit(module)
    assert list(tmp_path.iterdir()) == []


def test_never_is_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        LastCheckpoint(0)
