"""The callbacks of every run, whether it is started from the command line or from a program."""

from pathlib import Path

import lightning as L

from rtp.callbacks.best_checkpoint import BestCheckpoint
from rtp.callbacks.progress import OuterLoopBar
from rtp.callbacks.retained_accuracy import RetainedAccuracy
from rtp.callbacks.speed import TrainingSpeed


def default_callbacks(best_folder: Path | None, progress: bool, streaming: bool = False) -> list[L.Callback]:
    """Callbacks that are not options.

    Args:
        best_folder: Folder of `best.ckpt`; None writes none.
        progress: Whether to show a progress bar.
        streaming: Whether a stream of tasks is learned. It is measured at its end: no checkpoint is chosen.
    """
    callbacks: list[L.Callback] = [TrainingSpeed()]
    if streaming:
        callbacks.append(RetainedAccuracy())
    elif best_folder is not None:
        callbacks.append(BestCheckpoint(str(best_folder)))
    if progress:
        callbacks.append(OuterLoopBar())
    return callbacks
