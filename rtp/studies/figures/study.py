"""Figures of studies: accuracy against a number (K, T, ...), bars of settings, and the table of architectures."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rtp.errors import UserError
from rtp.studies.figures.points import Chart, Point, axes_of, chart, distilled_and_others, over_seeds
from rtp.studies.figures.published import Published, in_order, published
from rtp.studies.figures.style import COLOURS, GREY, MARKERS, new_figure, shown_name, styled, text_width
from rtp.studies.table import Row, grouped

ARCHITECTURES = "architectures"
"""The study whose settings are architectures to distil on, each tested on several."""
LOG_SPAN = 20
"""Ratio of an axis's ends from which on it is logarithmic: T in 1, ..., 200 and K in 2, ..., 256."""
_PANELS_IN_ROW = 3
_WIDEST_ROW = 18.0  # inches; a wider picture cannot be read on a page
_HEIGHT, _CURVES_WIDTH, _BAR, _CELL = 3.2, 4.2, 0.56, 0.95  # inches: panels, those with curves, bars, table cells
_TITLE = 8.5  # points
_AXES = {"T": "inner steps T", "K": "bases K", "ipc": "images a class"}
_DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "svhn": "SVHN", "cifar10": "CIFAR-10"}
_DATA |= {"cifar100": "CIFAR-100", "tiny_imagenet": "Tiny ImageNet", "digits": "Digits"}


@styled()
def study_figure(rows: Sequence[Row], study: str) -> Figure:
    """Draw a study of the table, a panel for each data set and size.

    A grid's numeric axis becomes x and its other axes the series; other settings are bars. Error bars are standard
    deviations over the seeds, or over the networks of a single seed. Values of `figures/published.py` stand beside
    measured ones.

    Args:
        rows: Rows of any studies.
        study: Name of the study to draw.

    Raises:
        UserError: If the study has no rows.
    """
    own = [row for row in rows if row.study == study]
    if not own:
        known = ", ".join(sorted({row.study for row in rows})) or "none"
        raise UserError(f"there are no results of a study {study!r}; the table has {known}")
    # a setting has one place and a series one colour in all panels, whichever runs these have
    settings = list(dict.fromkeys(row.setting for row in own))
    panels = []
    for found in grouped(own, lambda row: (row.data, row.size)).values():
        compared, others = distilled_and_others(sorted(found, key=lambda row: settings.index(row.setting)))
        panels.append((compared, others, chart(compared)))
    series = dict.fromkeys(name for _, _, drawn in panels for name in drawn.series)
    numbers = {name: number for number, name in enumerate(series)}
    width = max(_width(study, *panel) for panel in panels)
    columns = min(len(panels), _PANELS_IN_ROW, max(1, int(_WIDEST_ROW / width)))
    lines = -(-len(panels) // columns)
    figure = new_figure(columns * width, lines * _HEIGHT)
    cells = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, (compared, others, drawn) in zip(cells, panels, strict=False):
        axes.set_title("\n".join(_title(compared)), fontsize=_TITLE)
        axes.set_xlabel(_AXES.get(drawn.axis, shown_name(drawn.axis)))
        axes.set_ylabel(f"{' and '.join(sorted({row.split for row in compared}))} accuracy (%)")
        if study == ARCHITECTURES:
            _draw_transfer(axes, compared)
        elif drawn.numeric:
            _draw_curves(axes, drawn, others, numbers)
        else:
            _draw_bars(axes, drawn, others, compared[0], numbers)
    for axes in cells[len(panels) :]:
        axes.set_axis_off()
    keys = [axes.get_legend_handles_labels() for axes in figure.axes]
    entries = {label: handle for key in keys for handle, label in zip(*key, strict=True)}
    if entries:
        columns = min(len(entries), 3 * columns)
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)
    return figure


def _draw_curves(axes: Axes, drawn: Chart, others: Mapping[str, Point], numbers: Mapping[str, int]) -> None:
    for name, points in drawn.series.items():
        number = numbers[name]
        places = sorted(points, key=float)
        axes.errorbar(
            [float(place) for place in places],
            [points[place].mean for place in places],
            [points[place].std for place in places],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=shown_name(name) if name else None,
        )
    values = [float(place) for place in drawn.places]
    if values[0] > 0 and values[-1] / values[0] >= LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, _apart(values, drawn.places, axes.get_xscale() == "log"))
    for (name, point), style in zip(others.items(), cycle(("--", ":", "-."))):
        axes.axhline(point.mean, color=GREY, linestyle=style, linewidth=1.2, label=shown_name(name))
    axes.grid(axis="y")


def _apart(values: Sequence[float], labels: Sequence[str], logarithmic: bool) -> list[str]:
    """The ticks' labels, "" for one that would touch the label on its right."""
    at = [math.log(value) if logarithmic else value for value in values]
    room = 0.08 * (at[-1] - at[0])  # three figures take a twelfth of an axis
    shown: list[str] = []
    last = math.inf
    for place, label in zip(reversed(at), reversed(labels), strict=True):
        shown.insert(0, label if last - place >= room else "")
        last = place if shown[0] else last
    return shown


def _draw_bars(axes: Axes, drawn: Chart, others: Mapping[str, Point], first: Row, numbers: Mapping[str, int]) -> None:
    paper = partial(published, first.study, first.size, first.data)
    places = in_order(first.study, drawn.places)
    width = 0.8 / len(drawn.series)
    shown: list[Point | Published] = list(others.values())
    for place_of_series, (name, points) in enumerate(drawn.series.items()):
        shift = (place_of_series - (len(drawn.series) - 1) / 2) * width
        own = {places.index(place) + shift: points[place] for place in places if place in points}
        colour = COLOURS[numbers[name] % len(COLOURS)]
        _draw_series(axes, own, 0.9 * width, colour, "white", label=shown_name(name) if name else None)
        known = {
            places.index(place) + shift: value
            for place in places
            if place in points and (value := paper(points[place].storage_floats, place))
        }
        if known:
            _draw_published(axes, known)
        shown += [*own.values(), *known.values()]
    _draw_series(axes, dict(enumerate(others.values(), len(places))), 0.72, "#bbbbbb", "black")
    names = [*places, *others]
    axes.set_xticks(range(len(names)), [textwrap.fill(shown_name(name), 12) for name in names])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_xlim(-0.6, len(names) - 0.4)  # with room for diverged settings
    tops = [value.mean + value.std for value in shown if math.isfinite(value.mean)]
    axes.set_ylim(0, 1.2 * max(tops, default=0) or 1)


def _draw_transfer(axes: Axes, rows: list[Row]) -> None:
    """Table 6: a row for each setting and a column for each architecture that it was tested on."""
    settings = in_order(ARCHITECTURES, list(dict.fromkeys(row.setting for row in rows)))
    tested = in_order(ARCHITECTURES, list(dict.fromkeys(row.architecture for row in rows)))
    points = {key: over_seeds(found) for key, found in grouped(rows, lambda r: (r.setting, r.architecture)).items()}
    values = [[points[s, t].mean if (s, t) in points else float("nan") for t in tested] for s in settings]
    image = axes.imshow(values, cmap="Blues", aspect="auto")
    low, high = image.get_clim()
    # black text needs the lighter half of the colours
    image.set_clim(low - 0.2 * (high - low or 1), high + (high - low or 1))
    for (setting, architecture), point in points.items():
        at = (tested.index(architecture), settings.index(setting))
        floats = point.storage_floats
        known = published(ARCHITECTURES, rows[0].size, rows[0].data, floats, trained_on(setting), architecture)
        text = f"{point.mean:.1f} ± {point.std:.1f}" if point.seeds else "diverged"
        axes.text(*at, text, ha="center", va="bottom" if known else "center", fontsize=8)
        if known:
            axes.text(*at, f"paper {known.mean:.1f} ± {known.std:.1f}", ha="center", va="top", fontsize=7)
    axes.set_xticks(range(len(tested)), [shown_name(name) for name in tested])
    axes.set_yticks(range(len(settings)), [shown_name(name) for name in settings])
    axes.set_xlabel("tested on, accuracy (%)")
    axes.set_ylabel("distilled on")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def trained_on(setting: str) -> str:
    """The architecture of a setting: its name, or its first label in a grid."""
    return next(iter(axes_of(setting).values()), setting)


def _draw_series(
    axes: Axes, points: dict[float, Point], width: float, colour: str, letters: str, label: str | None = None
) -> None:
    """Draw bars with their numbers at the foot, away from error bars and published values."""
    heights = [point.mean for point in points.values()]
    errors = [point.std for point in points.values()]
    axes.bar(list(points), heights, width, yerr=errors, color=colour, label=label)
    for place, point in points.items():
        text, text_colour = (f"{point.mean:.1f}", letters) if point.seeds else ("diverged", "black")
        _annotate(axes, place, 0, text, text_colour)


def _draw_published(axes: Axes, known: dict[float, Published]) -> None:
    axes.errorbar(
        list(known),
        [value.mean for value in known.values()],
        [value.std for value in known.values()],
        fmt="D",
        color="black",
        markerfacecolor="white",
        label=f"paper, table {next(iter(known.values())).table}",
    )
    for place, value in known.items():
        _annotate(axes, place, value.mean + value.std, f"{value.mean:.1f}")


def _annotate(axes: Axes, x: float, y: float, text: str, colour: str = "black") -> None:
    axes.annotate(text, (x, y), (0, 4), textcoords="offset points", ha="center", fontsize=7.5, color=colour)


def _width(study: str, rows: list[Row], others: Mapping[str, Point], drawn: Chart) -> float:
    if study == ARCHITECTURES:
        width = 1.6 + _CELL * len({row.architecture for row in rows})
    elif drawn.numeric:
        width = _CURVES_WIDTH
    else:
        width = 0.9 + _BAR * (len(drawn.places) * max(1.5, len(drawn.series)) + 1.5 * len(others))
    return max(width, *(text_width(line, _TITLE) + 0.6 for line in _title(rows)))


def _title(rows: list[Row]) -> list[str]:
    seeds = len({row.seed for row in rows})
    networks = max(row.networks for row in rows)
    over = f"± std over {seeds} seeds" if seeds > 1 else "one seed"
    if seeds == 1 and networks != 1 and any(math.isfinite(row.accuracy_std) for row in rows):
        over += f", ± std over {networks} networks"
    # numbers of different formats are compared by the bytes that they take
    unit = "numbers" if all(row.storage_bytes == 4 * row.storage_floats for row in rows) else "bytes"
    stored = {row.storage_floats if unit == "numbers" else row.storage_bytes for row in rows} - {0} or {0}
    storage = f"{min(stored):,}" if len(stored) == 1 else f"{min(stored):,} to {max(stored):,}"
    diverged = [
        f"{shown_name(setting)} ({point.diverged} of {point.seeds + point.diverged})"
        for setting, found in grouped(rows, lambda row: row.setting).items()
        if (point := over_seeds(found)).diverged
    ]
    data = _DATA.get(rows[0].data, shown_name(rows[0].data))
    # a small size of the paper's data set must not pass for the paper's
    lines = [f"{data}, size {shown_name(rows[0].size)}", f"{storage} {unit}, {over}"]
    return lines + (textwrap.wrap(f"diverged: {'; '.join(diverged)}", 48) if diverged else [])
