"""TensorBoard's event files. A full disk costs points of the curves, never the run."""

import logging
import os
import socket
import time
from io import BytesIO, FileIO
from itertools import count
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

from rtp.utils.files import append_whole, atomic_path

log = logging.getLogger(__name__)

_NUMBERS = count()


class EventFile:
    """Takes the place of TensorBoard's `EventFileWriter`, whose thread dies at a full disk and takes the run with it.

    Events are written at once, in the calling thread, each whole or not at all: TensorBoard cannot read past half of
    one. One that cannot be written is lost. A warning says so for the first of them, and again after the disk had room.

    Args:
        folder: Where to write it; created with the first event if missing.
        suffix: End of the file's name.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        # TensorBoard reads a folder's files in the order of their names
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self.path = folder / f"events.out.tfevents.{place}{suffix}"
        self._file: FileIO | None = None
        self._losing = False

    def get_logdir(self) -> str:
        """The folder."""
        return str(self.path.parent)

    def add_event(self, event: Event) -> None:
        """Append an event, or warn that it is lost."""
        try:
            if self._file is None:
                self._file = self._opened()
            append_whole(self._file, _record(event))
            self._losing = False
        except OSError as error:
            if not self._losing:
                log.warning("curves are lost until there is room: %s cannot be written (%s)", self.path, error.strerror)
            self._losing = True

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the file; another event would open it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _opened(self) -> FileIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(self.path, "a")
        try:
            if not file.tell():
                append_whole(file, _record(Event(wall_time=time.time(), file_version="brain.Event:2")))
        except OSError:
            file.close()
            self.path.unlink()  # it is empty
            raise
        return file


def _record(event: Event) -> bytes:
    """An event as TensorBoard reads it: its length and its bytes, each with a checksum."""
    buffer = BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


class _FileWriter(FileWriter):
    def __init__(self, folder: str, suffix: str) -> None:
        self.event_writer = EventFile(Path(folder), suffix)  # all that torch's has


class EventWriter(SummaryWriter):
    """torch's writer of summaries, into an `EventFile`; the arguments are torch's."""

    file_writer: FileWriter | None  # type: ignore[assignment]  # torch annotates what it sets first
    all_writers: dict[str, FileWriter] | None  # type: ignore[assignment]

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = _FileWriter(self.log_dir, self.filename_suffix)
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:  # TensorBoard then drops earlier points from this step on
                start = SessionLog(status=SessionLog.START)
                self.file_writer.add_event(Event(step=self.purge_step, session_log=start))
                self.purge_step = None
        return self.file_writer


class CurvesLogger(TensorBoardLogger):
    """Lightning's logger for TensorBoard, which goes on where a disk is full; the arguments are Lightning's."""

    _warned = False

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer, of the first process alone."""
        if self._experiment is None:
            self._experiment = EventWriter(self.log_dir, **self._kwargs)
        return self._experiment

    @rank_zero_only
    def save(self) -> None:
        """Write the hyper-parameters as `hparams.yaml`, if there is none yet: whole, or not at all and warn once."""
        file = Path(self.log_dir) / self.NAME_HPARAMS_FILE
        if file.exists():
            return
        try:
            with atomic_path(file) as part:
                save_hparams_to_yaml(part, self.hparams)
        except OSError as error:
            if not self._warned:
                log.warning("%s cannot be written (%s): make room, the run goes on", file, error.strerror)
            self._warned = True
