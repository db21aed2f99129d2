"""Rows of one study as a text table: mean and standard deviation over the seeds."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from rtp.studies.table import Row
from rtp.utils.tables import text_table

COLUMNS = ("setting", "training set", "architecture", "split", "accuracy (%)", "seeds", "floats", "steps", "seconds")
INTERFERENCE = "BTI (%)"
"""The column behind them where a continual learner forgets."""


def summarise(rows: Sequence[Row]) -> str:
    """Lay a study's rows out, a line for each setting, training set, architecture and split.

    The accuracy is the mean over the seeds of the networks' mean accuracies; behind it their standard deviation,
    dividing by their number less one, where there are several. Seeds that diverged are counted, not averaged.

    Args:
        rows: Of one study and size, in the order of the lines.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.setting, row.training_set, row.architecture, row.split), []).append(row)
    lines = [(*group, *_numbers(members)) for group, members in groups.items()]
    if all(math.isnan(row.interference) for row in rows):
        return text_table(COLUMNS, lines, words=4)
    forgotten = [_interference(members) for members in groups.values()]
    lines = [(*line, number) for line, number in zip(lines, forgotten, strict=True)]
    return text_table((*COLUMNS, INTERFERENCE), lines, words=4)


def accuracy_text(accuracies: Sequence[float]) -> str:
    """Mean and standard deviation in percent; those that are NaN diverged."""
    finite = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
    parts = []
    if finite:
        spread = f" +- {100 * stdev(finite):.2f}" if len(finite) > 1 else ""
        parts.append(f"{100 * fmean(finite):.2f}{spread}")
    if diverged := len(accuracies) - len(finite):
        parts.append(f"({diverged} diverged)")
    return " ".join(parts)


def _interference(rows: Sequence[Row]) -> str:
    finite = [row.interference for row in rows if not math.isnan(row.interference)]
    return accuracy_text(finite) if finite else "n/a"


def _numbers(rows: Sequence[Row]) -> tuple[str, ...]:
    floats = sorted({row.storage_floats for row in rows if row.networks})
    return (
        accuracy_text([row.accuracy_mean for row in rows]),
        str(len(rows)),
        " to ".join(f"{number:,}" for number in floats[:: max(1, len(floats) - 1)]),
        f"{max(row.steps for row in rows):,}",
        f"{fmean(row.seconds for row in rows):,.0f}",
    )
