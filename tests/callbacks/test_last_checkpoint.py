"""When `last.ckpt` is written; that a run goes on from it is seen in tests/test_resume.py."""

import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from rtp.callbacks import LastCheckpoint
from rtp.datamodules.sampling import Batches


def run(folder: Path, every: int, stop: BaseException | None = None, minutes: float = 10) -> list[int]:
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
        callbacks=[Recorded(every, minutes)],
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


def test_it_is_written_every_so_many_minutes(tmp_path: Path) -> None:
    assert run(tmp_path, every=100, minutes=1e-9) == [1, 2, 3, 4, 5, 5]
    assert run(tmp_path, every=100, minutes=60) == [5]


@pytest.mark.parametrize("stop", [RuntimeError("broken"), KeyboardInterrupt()])
def test_it_is_not_written_in_the_middle_of_a_step(
    tmp_path: Path, stop: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert run(tmp_path, every=2, stop=stop) == [2]
    said = capsys.readouterr().out
    if isinstance(stop, KeyboardInterrupt):
        assert f"stopped at step 3; continue with --ckpt_path {tmp_path}/last.ckpt, of step 2" in said
        signal.signal(signal.SIGINT, handler)  # Lightning has turned it off to shut down in peace
    else:
        assert "stopped" not in said
        assert signal.getsignal(signal.SIGINT) == handler


def test_a_run_that_is_stopped_before_its_first_checkpoint_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert run(tmp_path, every=100, stop=KeyboardInterrupt()) == []
    signal.signal(signal.SIGINT, handler)
    assert "stopped at step 3, before the first checkpoint" in capsys.readouterr().out


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
    with pytest.raises(ValueError, match="every_n_minutes must be above 0, got 0"):
        LastCheckpoint(every_n_minutes=0)
