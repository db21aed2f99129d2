"""Steps a second, on a clock of the test's own."""

from types import SimpleNamespace
from typing import Any

import pytest

from rtp.callbacks import TrainingSpeed


def test_it_logs_steps_over_the_time_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    # starts and ends of four steps; the 100 seconds in between are validation
    times = iter([0.0, 1.0, 1.0, 4.0, 104.0, 105.0, 105.0, 106.0])
    monkeypatch.setattr("rtp.callbacks.speed.time.perf_counter", lambda: next(times))
    logged: list[tuple[str, float]] = []
    module: Any = SimpleNamespace(log=lambda name, value: logged.append((name, value)))
    lightning_module = SimpleNamespace(automatic_optimization=True)
    speed = TrainingSpeed()
    for step in (1, 2, 3, 4):
        trainer: Any = SimpleNamespace(global_step=step, log_every_n_steps=2, lightning_module=lightning_module)
        speed.on_train_batch_start(trainer, module, None, step)
        speed.on_train_batch_end(trainer, module, None, None, step)
    assert logged == [("train/steps_per_second", 0.5), ("train/steps_per_second", 1.0)]
