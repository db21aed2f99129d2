"""Bases (figure 7), and recalled images of several memories side by side (figures 8 to 14)."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from rtp.artefact import DistilledMemory
from rtp.errors import UserError
from rtp.studies.figures.similarity import class_places
from rtp.studies.figures.style import shown_name, styled, text_width
from rtp.utils.pictures import image_grid, stretched

ROW_IMAGES = 10
"""Most recalled images in a row; a class with more takes several rows, as in figure 8."""
ROW_BASES = 8
"""Fewest bases in a row: 64 of them, as in figure 7, are a square."""
_IMAGE, _GAP = 0.42, 12  # width of an image in inches; pixels between two classes
_SIZE, _LINE, _MARGIN = 8, 0.16, 0.12  # text in points; line height and margin in inches


@styled()
def bases_figure(memory: DistilledMemory, title: str) -> Figure:
    """Draw all bases of a memory, enlarged to the size of recalled images; a row has the number of its first basis.

    The bases are mapped back to pixels, ZCA included. As they have no scale, each is stretched from black to white.
    """
    bases = memory.memory.bases.detach()
    count, (height, width) = len(bases), bases.shape[2:]
    columns = min(count, max(ROW_BASES, math.isqrt(count - 1) + 1))
    enlarged = F.interpolate(bases, size=memory.image_shape[1:], mode="bilinear", align_corners=False)
    grid = _grid(stretched(memory.normalisation.invert(enlarged)).expand(-1, 3, -1, -1), columns)
    titles = [[shown_name(title), f"{count} bases of {height}x{width} pixels, each stretched to its range"]]
    figure, (axes,) = _panels([grid], titles, columns, [str(count)])
    rows = -(-count // columns)
    step = grid.shape[1] / rows
    axes.set_yticks([step * (row + 0.5) for row in range(rows)], [str(1 + row * columns) for row in range(rows)])
    return figure


@styled()
def recalled_figure(
    memories: Sequence[DistilledMemory], names: Sequence[str], classes: Sequence[str], images: int
) -> Figure:
    """Draw recalled images of the same classes from several memories, a panel each.

    Args:
        memories: Memories that have all the classes.
        names: Titles of the panels, above the storage and the accuracy.
        classes: Names of the classes, a block of rows each.
        images: Most images of a class, the first ones; a memory with fewer shows all.

    Raises:
        UserError: If a memory lacks a class, or there is nothing to show.
    """
    if images < 1 or not classes:
        raise UserError(f"--images {images} of {len(classes)} classes are nothing to show: ask for one at least")
    images = min(images, max(memory.images_per_class for memory in memories))
    columns = min(images, ROW_IMAGES)
    grids = [_class_grids(memory, class_places(memory, classes), images, columns) for memory in memories]
    labels = [shown_name(label) for label in classes]
    titles = [[shown_name(name), *facts(memory)] for name, memory in zip(names, memories, strict=True)]
    figure, panels = _panels(grids, titles, columns, labels)
    for place, (axes, grid) in enumerate(zip(panels, grids, strict=True)):
        step = (grid.shape[1] + _GAP) / len(classes)
        middles = [step * (number + 0.5) - _GAP / 2 for number in range(len(classes))]
        axes.set_yticks(middles, labels if place == 0 else [""] * len(labels))
    return figure


def facts(memory: DistilledMemory) -> list[str]:
    """Lines above a panel: storage, and accuracy on the test set, or else on the validation split."""
    lines = [
        f"{memory.storage_floats:,} numbers of {memory.description.stored_as}, {memory.storage_bytes:,} bytes",
        f"{memory.images_per_class:,} images and {memory.bits_per_class:,.0f} bits a class",
    ]
    if best := min(memory.accuracies, key=lambda accuracy: accuracy.split != "test", default=None):
        spread = "" if best.std is None else f" ± {100 * best.std:.1f}"
        lines.append(f"{best.split} accuracy {100 * best.mean:.1f}{spread} %")
        if best.task is not None:
            lines.append(f"of {shown_name(best.task)}")
    return lines


def _class_grids(memory: DistilledMemory, places: list[int], images: int, columns: int) -> Tensor:
    """The images of the classes, one class below the other, (3, height, width)."""
    grids = []
    for recalled in memory.recall(torch.tensor(places)).detach():
        pixels = memory.to_pixels(recalled[:images])
        missing = pixels.new_ones(images - len(pixels), *pixels.shape[1:])
        grids.append(F.pad(_grid(torch.cat([pixels, missing]), columns), (0, 0, 0, _GAP), value=1.0))
    return torch.cat(grids, dim=1)[:, :-_GAP]


def _grid(images: Tensor, columns: int) -> Tensor:
    missing = images.new_ones(-len(images) % columns, *images.shape[1:])
    return image_grid(torch.cat([images, missing]).split(columns))  # white images fill the last row


def _panels(
    grids: Sequence[Tensor], titles: Sequence[Sequence[str]], columns: int, labels: Sequence[str]
) -> tuple[Figure, list[Axes]]:
    """Draw pictures side by side, each below its title.

    The figure's size follows from theirs; matplotlib's layouts would fit the pictures to the figure.
    """
    width = columns * _IMAGE
    pitch = max(width, *(text_width(line, _SIZE) for lines in titles for line in lines)) + 2 * _MARGIN
    left = max(text_width(label, _SIZE) for label in labels) + _MARGIN
    heights = [width * grid.shape[1] / grid.shape[2] for grid in grids]
    top = max(map(len, titles)) * _LINE + _MARGIN
    total_width, total_height = left + pitch * len(grids), max(heights) + top + _MARGIN
    figure = Figure(figsize=(total_width, total_height))
    panels = []
    for place, (grid, height, lines) in enumerate(zip(grids, heights, titles, strict=True)):
        x, y = left + place * pitch + (pitch - width) / 2, total_height - top - height
        axes = figure.add_axes((x / total_width, y / total_height, width / total_width, height / total_height))
        extent = (0, grid.shape[2], grid.shape[1], 0)
        axes.imshow(grid.permute(1, 2, 0).cpu().numpy(), interpolation="none", extent=extent)
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=_SIZE)
        axes.spines[:].set_visible(False)
        axes.set_title("\n".join(lines), fontsize=_SIZE, pad=4)
        panels.append(axes)
    return figure, panels
