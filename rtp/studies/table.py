"""The table of results, `results.csv`: a row for each set of images that a run's networks were trained on."""

import csv
import io
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import get_type_hints

from rtp.errors import UserError
from rtp.utils.files import locked

DISTILLED = "distilled"
"""The training set that is recalled from a memory."""

STREAM = "stream"
"""The training set of a continual learner: the stream, of which it has kept `storage_floats`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One measurement of a run; the attributes are the table's columns, in order.

    Attributes:
        study: Name of the study, its file's stem.
        size: Name of the size, such as `paper` or `fast`.
        setting: What is compared with others.
        data: Name of the data set, such as `mnist`.
        seed: Seed of the run.
        training_set: What the networks were trained on: `DISTILLED`, one of the baselines, or `STREAM`.
        architecture: Class name of the networks.
        split: "test" or "validation".
        accuracy_mean: Mean accuracy over the networks, in [0, 1]; NaN where training diverged. Of a stream, retained
            accuracy (RA).
        accuracy_std: Standard deviation over the networks, dividing by their number; NaN where it was not kept.
        networks: How many there are; 0 where training diverged.
        storage_floats: Numbers that the training set takes; 0 where training diverged.
        storage_bytes: Bytes that it takes; 0 where training diverged.
        steps: Outer steps of the run.
        seconds: Wall-clock time of the run's training with its validations; those of a process that was killed count
            until its last checkpoint.
        device: What the run was trained on.
        version: Version of rtp.
        interference: Of a stream, backward transfer and interference (BTI), in [-1, 1]; NaN where it does not apply.
        digest: `Run.digest`: what the run was made of, in eight digits.
    """

    study: str
    size: str
    setting: str
    data: str
    seed: int
    training_set: str
    architecture: str
    split: str
    accuracy_mean: float
    accuracy_std: float
    networks: int
    storage_floats: int
    storage_bytes: int
    steps: int
    seconds: float
    device: str
    version: str
    interference: float = math.nan
    digest: str = ""

    @property
    def key(self) -> tuple[str | int, ...]:
        """What the row is about; a later row replaces an earlier one of the same key."""
        return (self.study, self.size, self.setting, self.seed, self.training_set, self.architecture, self.split)


COLUMNS = tuple(field.name for field in fields(Row))
KINDS = tuple(get_type_hints(Row).values())
HEADER = ",".join(COLUMNS) + "\n"


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to the table, all of them in one write; several processes may share the file.

    The file is locked for as long as it takes, so that a last line that a killed process left behind can be removed.

    Args:
        path: The table; made with its header, and with its folder, where it is missing.
        rows: The rows.

    Raises:
        UserError: If the file is another kind of table.
    """
    with locked(path.with_name(f"{path.name}.lock")), path.open("a+b") as file:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            log.warning("%s: removed its last line, which was cut off", path)
            file.truncate(whole)
        text = content[:whole].decode("utf-8")
        _check_header(path, text)
        file.write(("" if text else HEADER).encode() + lines_of(rows).encode())


def read_rows(path: Path) -> list[Row]:
    """Read the table.

    Args:
        path: The table; none yet is an empty one.

    Returns:
        The rows in the order of the file. Of several of one `key` it is the last one; a last line that was cut off,
        as a killed process leaves it, is reported and left out.

    Raises:
        UserError: If the file is another kind of table, or another line is damaged.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("%s: left out its last line, which is cut off", path)
    text = content[:whole].decode("utf-8", errors="replace")
    _check_header(path, text)
    rows: dict[tuple[str | int, ...], Row] = {}
    for number, values in enumerate(csv.reader(io.StringIO(text)), 1):
        if number > 1:
            try:
                row = _row(values)
            except ValueError as error:
                raise UserError(f"row {number} of {path} is damaged ({error}): remove that line") from error
            rows.pop(row.key, None)  # the order is that of the last ones
            rows[row.key] = row
    return list(rows.values())


def lines_of(rows: Iterable[Row]) -> str:
    """Write rows as the lines of a table, without its header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(astuple(row) for row in rows)
    return text.getvalue()


def rows_of(lines: str) -> list[Row]:
    """Read what `lines_of` wrote."""
    return [_row(values) for values in csv.reader(io.StringIO(lines))]


def _check_header(path: Path, text: str) -> None:
    if text and text.partition("\n")[0] != HEADER.rstrip():
        raise UserError(
            f"{path} has other columns than a table of rtp {', '.join(COLUMNS[:3])}, ...: "
            "name another file with --results, or rename this one"
        )


def _row(values: Sequence[str]) -> Row:
    return Row(*(kind(value) for kind, value in zip(KINDS, values, strict=True)))
