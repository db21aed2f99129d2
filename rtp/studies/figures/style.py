"""Fonts, colours and written names of all figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font_names
from matplotlib.textpath import text_to_path

from rtp.utils.tables import printable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)."""
MARKERS = "osD^vPX"
"""One for each colour, so that series differ in grey too."""
GREY = "#767676"
"""Colour of baselines: contrast 4.5 : 1 against white, as small text needs."""
MAX_NAME = 32
"""Letters of a name, enough for CIFAR-100's superclasses; longer names are cut."""

# fonts of Linux distributions, Windows and macOS for Chinese, Japanese and Korean, which DejaVu Sans lacks
SYSTEM_FAMILIES = (
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "NanumGothic",
    "Microsoft YaHei",
    "MS Gothic",
    "Malgun Gothic",
    "PingFang HK",
    "Hiragino Sans GB",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
)

STYLE: dict[Any, Any] = {
    # the one that matplotlib brings along, and for its missing letters those of this machine
    "font.family": ["DejaVu Sans", *(name for name in SYSTEM_FAMILIES if name in get_font_names())],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "errorbar.capsize": 2.5,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # letters that can be searched and edited
    "text.parse_math": False,  # a name with dollars is a name
    "axes.formatter.use_mathtext": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style, whatever the user's own settings; also a decorator."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, that makes room for its labels; no window and no pyplot."""
    return Figure(figsize=(width, height), layout="constrained")


def shown_name(name: str) -> str:
    """A name in a figure: spaces for underscores, no control characters, at most `MAX_NAME` letters."""
    text = printable(name).replace("_", " ")
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def text_width(text: str, size: float) -> float:
    """Width in inches of a line of text of a size in points, which needs no canvas."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]) / 72
