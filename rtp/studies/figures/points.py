"""What a figure of a study shows, as numbers: settings over their seeds, panels, axes and series."""

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rtp.studies.table import DISTILLED, Row

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Point:
    """Accuracy of one setting over its seeds.

    Attributes:
        mean: Mean over the seeds of each one's mean accuracy, in percent; NaN where all of them diverged.
        std: Standard deviation over the seeds (n - 1), in percentage points; with one seed over its networks, and 0
            where that is not known.
        seeds: Seeds that did not diverge.
        diverged: Seeds that did.
        storage_floats: Numbers that the training set takes.
    """

    mean: float
    std: float
    seeds: int
    diverged: int
    storage_floats: int


def over_seeds(rows: Sequence[Row]) -> Point:
    """Summarise the rows of one setting, one row a seed; of several rows of a seed the last one counts."""
    last = list({row.seed: row for row in rows}.values())
    finite = [row for row in last if math.isfinite(row.accuracy_mean)]
    means = [100 * row.accuracy_mean for row in finite]
    if len(means) > 1:
        std = statistics.stdev(means)
    else:
        std = next((100 * row.accuracy_std for row in finite if math.isfinite(row.accuracy_std)), 0.0)
    return Point(
        mean=statistics.fmean(means) if means else math.nan,
        std=std,
        seeds=len(means),
        diverged=len(last) - len(means),
        storage_floats=max(row.storage_floats for row in last),
    )


def grouped(rows: Iterable[Row], key: Callable[[Row], _Key]) -> dict[_Key, list[Row]]:
    """Rows by a key, in the order in which keys first appear."""
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def axes_of(setting: str) -> dict[str, str]:
    """The axes of a setting of a grid, `{"T": "10", "momentum": "full"}` of "T=10, momentum=full"; of others none."""
    parts = [part.partition("=") for part in setting.split(", ")]
    return {name.strip(): label.strip() for name, _, label in parts} if all(sign for _, sign, _ in parts) else {}


@dataclass(frozen=True)
class Chart:
    """Settings of one panel as a curve or as bars.

    Attributes:
        axis: Name of the x axis; empty where settings are named freely.
        numeric: Whether it has numbers, drawn to scale.
        places: What is on it, in order.
        series: For each series its points, by what is on the axis.
    """

    axis: str
    numeric: bool
    places: tuple[str, ...]
    series: dict[str, dict[str, Point]]


def chart(rows: Sequence[Row]) -> Chart:
    """Decide on axis and series of the distilled sets of a panel.

    Of a grid's axes the numeric one with the most values becomes x, or else the one with the most labels; all others
    that vary tell series apart, and so do splits and architectures where there are several. Settings that are not all
    combinations of the same axes are bars of their own.

    Args:
        rows: At least one.
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    labels = {setting: axes_of(setting) for setting in settings}
    names = list(labels[settings[0]])
    if not names or any(list(axes) != names for axes in labels.values()):
        names, labels = [""], {setting: {"": setting} for setting in settings}
    values = {name: list(dict.fromkeys(labels[setting][name] for setting in settings)) for name in names}
    numeric = [name for name in names if len(values[name]) > 1 and all(map(_is_number, values[name]))]
    axis = max(numeric or names, key=lambda name: len(values[name]))
    places = sorted(values[axis], key=float) if numeric else values[axis]
    others = [name for name in names if name != axis and len(values[name]) > 1]
    splits, architectures = {row.split for row in rows}, {row.architecture for row in rows}

    def series_of(row: Row) -> str:
        parts = [f"{name} {labels[row.setting][name]}" for name in others]
        parts += [row.architecture] if len(architectures) > 1 else []
        return ", ".join(parts + ([row.split] if len(splits) > 1 else []))

    series = {
        name: {place: over_seeds(found) for place, found in grouped(own, lambda row: labels[row.setting][axis]).items()}
        for name, own in grouped(rows, series_of).items()
    }
    return Chart(axis, bool(numeric), tuple(places), series)


def distilled_and_others(rows: Sequence[Row]) -> tuple[list[Row], dict[str, Point]]:
    """Tell what a study compares from what it is compared with.

    Args:
        rows: Of one panel.

    Returns:
        Rows of the settings, and the baselines that were tested beside them (all real images, ...), each over the
        seeds. A setting without a distilled set, such as a selection of real images, is one of the settings.
    """
    own: list[Row] = []
    others: list[Row] = []
    for found in grouped(rows, lambda row: row.setting).values():
        compared = [row for row in found if row.training_set == DISTILLED] or found
        own += compared
        others += [row for row in found if row not in compared]
    return own, {name: over_seeds(found) for name, found in grouped(others, lambda row: row.training_set).items()}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
