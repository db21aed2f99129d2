"""Text table of a study's results: mean and standard deviation over the seeds."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from rtp.studies.table import Row, grouped
from rtp.utils.tables import text_table

COLUMNS = (
    *("setting", "training set", "architecture", "split", "accuracy (%)", "seeds"),
    *("numbers", "bytes", "steps", "seconds"),
)
INTERFERENCE = "BTI (%)"
"""Additional last column for continual learners."""


def summarise(rows: Sequence[Row]) -> str:
    """Format the rows of one study and size, one line per setting, training set, architecture and split.

    The accuracy is the mean over the seeds of the networks' mean accuracies, followed by the sample standard deviation
    (n - 1) if there are several seeds. Diverged seeds are counted, not averaged.
    """
    groups = grouped(rows, lambda row: (row.setting, row.training_set, row.architecture, row.split))
    columns = len(COLUMNS) + any(not math.isnan(row.interference) for row in rows)
    lines = [(*group, *_numbers(members))[:columns] for group, members in groups.items()]
    return text_table((*COLUMNS, INTERFERENCE)[:columns], lines, words=4)


def accuracy_text(accuracies: Sequence[float]) -> str:
    """Mean and standard deviation in percent; NaN stands for a diverged run."""
    finite = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
    diverged = len(accuracies) - len(finite)
    mean = f"{100 * fmean(finite):.2f}" if finite else ""
    spread = f"+- {100 * stdev(finite):.2f}" if len(finite) > 1 else ""
    return " ".join(filter(None, (mean, spread, f"({diverged} diverged)" if diverged else "")))


def _numbers(rows: Sequence[Row]) -> tuple[str, ...]:
    floats, stored = (
        sorted({getattr(row, name) for row in rows if row.networks}) for name in ("storage_floats", "storage_bytes")
    )
    interferences = [row.interference for row in rows if not math.isnan(row.interference)]
    return (
        accuracy_text([row.accuracy_mean for row in rows]),
        str(len(rows)),
        *(" to ".join(f"{number:,}" for number in found[:: max(1, len(found) - 1)]) for found in (floats, stored)),
        f"{max(row.steps for row in rows):,}",
        f"{fmean(row.seconds for row in rows):,.0f}",
        accuracy_text(interferences) or "n/a",
    )
