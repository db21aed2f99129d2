"""The heat map of a continual learner's accuracies: each task, after each task."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from rtp.utils.fonts import font_of
from rtp.utils.pictures import MAX_SIDE, captioned

_SIDE, _LARGEST_CELL = 800, 32  # of the map and of a cell at most, in pixels
_LEAST_WITH_NUMBER = 28  # side of a cell that holds "100"
_FONT_SIZE, _LINE, _MARGIN, _BAR = 13, 18, 8, 16
_LEAST_BETWEEN_TICKS = 26
# 0, 50 and 100 %: ColorBrewer's YlGnBu, whose lightness falls all the way
_COLOURS = torch.tensor([[255, 255, 217], [65, 182, 196], [8, 29, 88]]) / 255
_UNKNOWN = 0.9  # grey, as no accuracy is


def accuracy_colours(accuracies: Tensor) -> Tensor:
    """Colours (3, ...) in [0, 1] of accuracies (...): 0 is light yellow, 0.5 turquoise, 1 dark blue, NaN light grey.

    Accuracies outside [0, 1] are clamped; in between, colours are interpolated linearly.
    """
    place = accuracies.nan_to_num(0).clamp(0, 1)[None] * 2
    low, middle, high = (colour.view(3, *[1] * accuracies.ndim) for colour in _COLOURS)
    colours = torch.where(place < 1, low + place * (middle - low), middle + (place - 1) * (high - middle))
    return torch.where(accuracies.isnan()[None], _UNKNOWN, colours)


def accuracy_map(rows: Sequence[Sequence[float]]) -> Tensor:
    """Draw accuracies after each task (row) on each task so far (column) with axes and a colour scale.

    Up to 28 tasks, the cells hold the accuracies in percent. Of more than `MAX_SIDE` tasks the first ones are drawn.

    Args:
        rows: A row of n accuracies in [0, 1] is that after task n - 1 on tasks 0..n-1; other rows and cells are grey.
            At least one, and none empty.

    Returns:
        The picture (3, height, width) in [0, 1].
    """
    tasks = min(max(len(row) for row in rows), MAX_SIDE)
    matrix = torch.full((tasks, tasks), torch.nan)
    for row in rows:
        if len(row) <= tasks:
            matrix[len(row) - 1, : len(row)] = torch.tensor(row)
    cell = max(1, min(_LARGEST_CELL, _SIDE // tasks))
    cells = F.interpolate(accuracy_colours(matrix)[None], scale_factor=cell, mode="nearest")[0]

    font, _ = font_of([], _FONT_SIZE)
    ticks = range(0, tasks, _tick_step(cell))
    left = _LINE + int(font.getlength(str(tasks))) + _MARGIN
    top, side = 2 * _LINE, cell * tasks
    # a map of few tasks is smaller than its colour scale and titles
    height, right = max(side, 4 * _LINE), max(side, int(font.getlength("on task"))) + 2 * _MARGIN
    width = left + right + _BAR + _MARGIN + int(font.getlength("100 %"))
    canvas = Image.new("RGB", (width, top + height + _MARGIN), "white")
    canvas.paste(_image(cells), (left, top))
    draw = ImageDraw.Draw(canvas)
    for task in ticks:
        middle = task * cell + cell // 2
        draw.text((left + middle, top - _MARGIN // 2), str(task), "black", font, anchor="mb")
        draw.text((left - _MARGIN // 2, top + middle), str(task), "black", font, anchor="rm")
    draw.text((left, 0), "on task", "black", font)
    title = Image.new("RGB", (height, _LINE), "white")
    ImageDraw.Draw(title).text((height, 0), "after task", "black", font, anchor="ra")  # turned, it begins below
    canvas.paste(title.rotate(90, expand=True), (0, top))
    if cell >= _LEAST_WITH_NUMBER:
        for after, row in enumerate(matrix.tolist()):
            for task, accuracy in enumerate(row[: after + 1]):
                if accuracy == accuracy:  # no number where it is not known
                    place = (left + task * cell + cell // 2, top + after * cell + cell // 2)
                    draw.text(place, f"{100 * accuracy:.0f}", "white" if accuracy > 0.6 else "black", font, anchor="mm")
    scale = accuracy_colours(torch.linspace(1, 0, height))[:, :, None].expand(-1, -1, _BAR)
    canvas.paste(_image(scale), (left + right, top))
    for percent, anchor in ((100, "lt"), (50, "lm"), (0, "lb")):
        place = (left + right + _BAR + _MARGIN // 2, top + (100 - percent) * height // 100)
        draw.text(place, f"{percent} %", "black", font, anchor=anchor)
    picture = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float() / 255
    return captioned(
        picture, "Validation accuracy (%) after each task (row) on each task so far (column); grey is not measured"
    )


def _tick_step(cell: int) -> int:
    # the least of 1, 2, 5, 10, 20, ... tasks whose numbers do not touch
    steps = (digit * 10**power for power in range(5) for digit in (1, 2, 5))
    return next(step for step in steps if step * cell >= _LEAST_BETWEEN_TICKS)


def _image(colours: Tensor) -> Image.Image:
    return Image.fromarray((colours * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
