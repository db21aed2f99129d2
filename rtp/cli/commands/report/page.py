"""The page of a report: HTML with its style, pictures and curve inside."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rtp.cli.commands.report.content import Report, ticks

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 48, 32
"""Of the curve, in units of its SVG, and its margins for labels."""


@dataclass(frozen=True)
class Curve:
    """A curve in the units of the SVG.

    Attributes:
        points: Its points as the attribute of a polyline.
        dots: (x, y, text) of each point.
        x_ticks: (x, label) of each.
        y_ticks: (y, label) of each.
        best: Index of the highest point.
    """

    points: str
    dots: list[tuple[float, float, str]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    best: int


def rendered(report: Report) -> str:
    """The page, UTF-8 text of one HTML file; all texts of the run are escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["png"] = lambda content: f"data:image/png;base64,{b64encode(content).decode()}"
    size = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": BOTTOM}
    return environment.get_template("page.html").render(report=report, curve=curve_of(report.curve), size=size)


def curve_of(points: list[tuple[int, float]]) -> Curve | None:
    """Lay out a curve of (step, fraction); None for fewer than two points."""
    if len(points) < 2:
        return None
    steps, percents = [step for step, _ in points], [100 * value for _, value in points]
    y_ticks = ticks(min(percents), max(percents), 4)
    x_ticks = [tick for tick in ticks(0, max(steps), 6) if tick == int(tick)]
    low, high = min(*percents, *y_ticks), max(*percents, *y_ticks)
    right, top = WIDTH - 12, 12

    def x(step: float) -> float:
        return round(LEFT + (right - LEFT) * step / max(steps), 1)

    def y(percent: float) -> float:
        bottom = HEIGHT - BOTTOM
        return round(bottom - (bottom - top) * (percent - low) / max(high - low, 1e-9), 1)

    dots = [(x(s), y(p), f"{p:.2f} % at step {s:,}") for s, p in zip(steps, percents, strict=True)]
    return Curve(
        points=" ".join(f"{dot_x},{dot_y}" for dot_x, dot_y, _ in dots),
        dots=dots,
        x_ticks=[(x(tick), f"{int(tick):,}") for tick in x_ticks],
        y_ticks=[(y(tick), f"{tick:g}") for tick in y_ticks],
        best=percents.index(max(percents)),
    )
