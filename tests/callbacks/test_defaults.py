"""The callbacks that every run has."""

from pathlib import Path

from rtp.callbacks import RetainedAccuracy, TrainingSpeed
from rtp.callbacks.best_checkpoint import BestCheckpoint
from rtp.callbacks.defaults import default_callbacks
from rtp.callbacks.progress import OuterLoopBar


def test_a_memory_is_chosen_and_a_stream_is_measured(tmp_path: Path) -> None:
    kinds = [type(callback) for callback in default_callbacks(tmp_path, progress=True)]
    assert kinds == [TrainingSpeed, BestCheckpoint, OuterLoopBar]
    kinds = [type(callback) for callback in default_callbacks(tmp_path, progress=False, streaming=True)]
    assert kinds == [TrainingSpeed, RetainedAccuracy]
    assert [type(callback) for callback in default_callbacks(None, progress=False)] == [TrainingSpeed]
