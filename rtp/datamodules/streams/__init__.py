"""Streams of tasks for continual learning, each made of any image data set."""

from rtp.datamodules.streams.base import StreamBatch, TaskStream
from rtp.datamodules.streams.incremental import IncrementalClasses
from rtp.datamodules.streams.permuted import PermutedTasks
from rtp.datamodules.streams.rotated import RotatedTasks

__all__ = ["IncrementalClasses", "PermutedTasks", "RotatedTasks", "StreamBatch", "TaskStream"]
