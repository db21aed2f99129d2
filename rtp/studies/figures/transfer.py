"""The table of architectures as a heat map: distilled on one, tested on others (table 6)."""

from matplotlib.axes import Axes

from rtp.studies.figures.points import axes_of, grouped, over_seeds
from rtp.studies.figures.published import in_order, published
from rtp.studies.figures.style import shown_name
from rtp.studies.table import Row


def draw_transfer(axes: Axes, rows: list[Row]) -> None:
    """Draw accuracies of one data set, a row for each setting and a column for each architecture that it was tested on.

    Args:
        axes: Where to draw.
        rows: Of distilled sets.
    """
    settings = in_order("architectures", list(dict.fromkeys(row.setting for row in rows)))
    tested = in_order("architectures", list(dict.fromkeys(row.architecture for row in rows)))
    points = {key: over_seeds(found) for key, found in grouped(rows, lambda r: (r.setting, r.architecture)).items()}
    values = [[points[s, t].mean if (s, t) in points else float("nan") for t in tested] for s in settings]
    image = axes.imshow(values, cmap="Blues", aspect="auto")
    low, high = image.get_clim()
    # black text needs the lighter half of the colours
    image.set_clim(low - 0.2 * (high - low or 1), high + (high - low or 1))
    for (setting, architecture), point in points.items():
        at = (tested.index(architecture), settings.index(setting))
        floats = point.storage_floats
        known = published("architectures", rows[0].size, rows[0].data, floats, trained_on(setting), architecture)
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
