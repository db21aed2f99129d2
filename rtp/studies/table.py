"""The table of results, `results.csv`: one row per training set and architecture of a run."""

import csv
import io
import logging
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar, get_type_hints

from rtp.errors import UserError
from rtp.utils.files import append_whole, locked, write_errors

DISTILLED = "distilled"
"""Training set recalled from a memory."""

STREAM = "stream"
"""Training set of a continual learner: a stream, of which it stores `storage_floats` numbers."""

log = logging.getLogger(__name__)
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Row:
    """One measurement of a run; the attributes are the table's columns, in order.

    Attributes:
        study: Name of the study, the stem of its file.
        size: Name of the size, such as `paper` or `fast`.
        setting: Name of the compared setting.
        data: Name of the data set, such as `mnist`.
        seed: Seed of the run.
        training_set: Training set of the networks: `DISTILLED`, one of the baselines, or `STREAM`.
        architecture: Class name of the networks.
        split: "test" or "validation".
        accuracy_mean: Mean accuracy over the networks, in [0, 1]; for a stream, retained accuracy (RA); NaN if
            training diverged.
        accuracy_std: Population standard deviation over the networks; NaN if unknown.
        networks: Number of networks; 0 if training diverged.
        storage_floats: Numbers that the training set stores; 0 if training diverged.
        storage_bytes: Bytes that it stores; 0 if training diverged.
        steps: Outer steps of the run.
        seconds: Wall-clock time of training and validation; a killed process counts until its last checkpoint.
        device: Device of the training.
        version: Version of rtp.
        interference: Backward transfer and interference (BTI) of a stream, in [-1, 1]; NaN if not applicable.
        digest: `Run.digest`, eight hexadecimal digits.
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
        """Identity of the row; a later row replaces an earlier one with the same key."""
        return (self.study, self.size, self.setting, self.seed, self.training_set, self.architecture, self.split)


COLUMNS = tuple(field.name for field in fields(Row))
KINDS = tuple(get_type_hints(Row).values())
HEADER = ",".join(COLUMNS) + "\n"


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows in one write, under a lock, and remove a truncated last line of a killed process.

    A missing table is created with its header and folder.

    Raises:
        UserError: If the file is another kind of table, or cannot be written; it then stays as it was.
    """
    with (
        write_errors(path),
        locked(path.with_name(f"{path.name}.lock")),
        path.open("a+b", buffering=0) as file,
    ):
        text, size = _complete_lines(path, "removed its last line, which was cut off")
        file.truncate(size)
        append_whole(file, ("" if text else HEADER).encode() + lines_of(rows).encode())


def read_rows(path: Path) -> list[Row]:
    """Read the table; a missing file is an empty table.

    Returns:
        The rows in file order, only the last one of each `key`. A truncated last line, left by a killed process, is
        reported and skipped.

    Raises:
        UserError: If the file is another kind of table, or another line is damaged.
    """
    if not path.is_file():
        return []
    text, _ = _complete_lines(path, "left out its last line, which is cut off")
    rows: dict[tuple[str | int, ...], Row] = {}
    for number, values in enumerate(list(csv.reader(io.StringIO(text)))[1:], 2):
        try:
            row = _row(values)
        except ValueError as error:
            raise UserError(f"row {number} of {path} is damaged ({error}): remove that line") from error
        rows.pop(row.key, None)  # ordered by last occurrence
        rows[row.key] = row
    return list(rows.values())


def lines_of(rows: Iterable[Row]) -> str:
    """Format rows as CSV lines, without the header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(astuple(row) for row in rows)
    return text.getvalue()


def rows_of(lines: str) -> list[Row]:
    """Parse the output of `lines_of`."""
    return [_row(values) for values in csv.reader(io.StringIO(lines))]


def grouped(rows: Iterable[Row], key: Callable[[Row], _Key]) -> dict[_Key, list[Row]]:
    """Group rows by a key, in the order in which keys first appear."""
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _complete_lines(path: Path, truncated: str) -> tuple[str, int]:
    """The checked text up to the last line break, and its bytes; a truncated last line is logged."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    if size < len(content):
        log.warning("%s: %s", path, truncated)
    text = content[:size].decode("utf-8", errors="replace")
    if text and text.partition("\n")[0] != HEADER.rstrip():
        raise UserError(
            f"{path} has other columns than a table of rtp {', '.join(COLUMNS[:3])}, ...: "
            "name another file with --results, or rename this one"
        )
    return text, size


def _row(values: Sequence[str]) -> Row:
    return Row(*(kind(value) for kind, value in zip(KINDS, values, strict=True)))
