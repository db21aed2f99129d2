"""The data behind a study's figure: settings averaged over seeds, axes and series."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rtp.studies.table import DISTILLED, Row, grouped


@dataclass(frozen=True)
class Point:
    """Accuracy of one setting over its seeds.

    Attributes:
        mean: Mean over the seeds, in percent; NaN if all diverged.
        std: Standard deviation over the seeds (n - 1), in percentage points; over the networks of a single seed, 0 if
            unknown.
        seeds: Number of seeds that did not diverge.
        diverged: Number of diverged seeds.
        storage_floats: Numbers that the training set stores.
    """

    mean: float
    std: float
    seeds: int
    diverged: int
    storage_floats: int


def over_seeds(rows: Sequence[Row]) -> Point:
    """Average the rows of one setting over seeds; the last row of each seed counts."""
    last = list({row.seed: row for row in rows}.values())
    finite = [row for row in last if math.isfinite(row.accuracy_mean)]
    means = [100 * row.accuracy_mean for row in finite]
    over_networks = next((100 * row.accuracy_std for row in finite if math.isfinite(row.accuracy_std)), 0.0)
    return Point(
        mean=statistics.fmean(means) if means else math.nan,
        std=statistics.stdev(means) if len(means) > 1 else over_networks,
        seeds=len(means),
        diverged=len(last) - len(means),
        storage_floats=max(row.storage_floats for row in last),
    )


def axes_of(setting: str) -> dict[str, str]:
    """The axes of a grid setting, `{"T": "10", "momentum": "full"}` for "T=10, momentum=full"; else empty."""
    parts = [part.partition("=") for part in setting.split(", ")]
    return {name.strip(): label.strip() for name, _, label in parts} if all(sign for _, sign, _ in parts) else {}


@dataclass(frozen=True)
class Chart:
    """Settings of one panel as a curve or as bars.

    Attributes:
        axis: Name of the x axis; empty for settings that are not from a grid.
        numeric: Whether its labels are numbers, drawn to scale.
        places: Its labels, in order.
        series: Points of each series, by label.
    """

    axis: str
    numeric: bool
    places: tuple[str, ...]
    series: dict[str, dict[str, Point]]


def chart(rows: Sequence[Row]) -> Chart:
    """Choose the axis and the series of a panel's distilled sets from one row or more.

    The x axis is the grid's numeric axis with the most values, or else the axis with the most labels. All other axes
    that vary distinguish series, as do several splits and architectures. Settings that are not all combinations of the
    same axes are individual bars.
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
    """Rows of a panel's settings, and each baseline tested beside them (all real images, ...) averaged over the seeds.

    A setting without a distilled set, such as a selection of real images, counts as a setting.
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
