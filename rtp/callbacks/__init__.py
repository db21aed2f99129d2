"""Callbacks, one job each."""

from rtp.callbacks.last_checkpoint import LastCheckpoint
from rtp.callbacks.memory_average import MemoryAverage
from rtp.callbacks.pictures import MemoryPictures
from rtp.callbacks.retained_accuracy import RetainedAccuracy
from rtp.callbacks.retraining import RetrainingEvaluation
from rtp.callbacks.run_record import RunRecord
from rtp.callbacks.speed import TrainingSpeed

__all__ = [
    "LastCheckpoint",
    "MemoryAverage",
    "MemoryPictures",
    "RetainedAccuracy",
    "RetrainingEvaluation",
    "RunRecord",
    "TrainingSpeed",
]
