"""Who sees a progress bar."""

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rtp.callbacks.progress import GRACE, OuterLoopBar, retraining_bar


@pytest.mark.parametrize(("bar", "is_global_zero"), [(None, True), (object(), False)])
def test_no_bar_where_none_is_wanted(bar: object, is_global_zero: bool, capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = SimpleNamespace(progress_bar_callback=bar, is_global_zero=is_global_zero, received_sigterm=False)
    with retraining_bar(trainer, 3) as advance:
        advance()
    assert capsys.readouterr().err == ""


def test_the_bar_counts_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = SimpleNamespace(progress_bar_callback=object(), is_global_zero=True, received_sigterm=False)
    with retraining_bar(trainer, 3) as advance:
        for _ in range(3):
            advance()
    shown = capsys.readouterr().err
    assert "retraining networks" in shown
    assert "0/3" in shown


def test_sigterm_ends_an_evaluation_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, GRACE - 1, GRACE + 1, GRACE + 2])
    monkeypatch.setattr("rtp.callbacks.progress.time.monotonic", lambda: next(clock))
    trainer: Any = SimpleNamespace(
        progress_bar_callback=None, is_global_zero=True, received_sigterm=False, world_size=1
    )
    with retraining_bar(trainer, 3) as advance:
        advance()
        trainer.received_sigterm = True
        advance()
        advance()
        with pytest.raises(SIGTERMException):
            advance()
        trainer.world_size = 2  # other processes would wait for this one's results
        advance()


def test_lightning_shows_no_bars_of_its_own_while_evaluating() -> None:
    bar = OuterLoopBar()
    assert bar.init_validation_tqdm().disable
    assert bar.init_test_tqdm().disable
    assert not bar.init_train_tqdm().disable


def test_a_resumed_run_s_bar_counts_all_its_steps() -> None:
    bar: Any = OuterLoopBar()
    # resumed at step 600 of 1000: Lightning would give the 400 left, less than the number of the next batch
    bar._trainer = SimpleNamespace(max_epochs=-1, max_steps=1000, global_step=600, num_training_batches=1000)
    assert bar.total_train_batches == 1000
