"""Pictures of a memory as tensors: grids of recalled images and bases, and the similarity map of figure 3."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from rtp.utils.files import new_file
from rtp.utils.fonts import font_of

_LEAST_SIDE = 48  # of one image in a grid, in screen pixels: 8x8 digits are unreadable at their own size
_CELL, _FONT_SIZE, _MARGIN = 24, 13, 8  # of the similarity map, in pixels
_LINE, _LEAST_WIDTH = 18, 320  # of a caption
_LONGEST_NAME = 60  # characters of a class name in it
# its end colours, ColorBrewer's RdBu, each (3, 1, 1)
_BLUE, _RED = torch.tensor([[0.13, 0.40, 0.67], [0.70, 0.09, 0.17]])[:, :, None, None]
MAX_SIDE = 2048
"""Bound of a side of the similarity map, in pixels: 48 MB as float32."""
MAX_PIXELS = 2**24
"""Bound of the pixels of a grid of images: 200 MB as float32 of three channels."""


def image_grid(rows: Sequence[Tensor], names: Sequence[str] = (), caption: str = "") -> Tensor:
    """Lay out rows of n images each, (n, C, H, W) in [0, 1], as one image (3, height, width) in [0, 1].

    Names stand to the left of the rows, and the caption, what to see, below all.

    Small images are enlarged by an integer factor, and a shorter last row is filled up with white. Of many rows, those
    that fit into `MAX_PIXELS` are shown.
    """
    height, width = rows[0].shape[-2:]
    factor = max(1, min(-(-_LEAST_SIDE // width), MAX_SIDE // max(height, width)))
    # rows beyond the bound are left out: a picture of thousands of images shows nothing, and takes all memory
    most = max(1, MAX_PIXELS // (len(rows[0]) * (height * factor + 2) * (width * factor + 2)))
    images = torch.cat(list(rows[:most]))
    enlarged = F.interpolate(images, scale_factor=factor, mode="nearest")
    from torchvision.utils import make_grid  # its import takes seconds, which `rtp info` and `rtp.load` need not wait

    grid = make_grid(enlarged, nrow=len(rows[0]), padding=2, pad_value=1.0)
    return captioned(grid, caption, names[: min(most, len(rows))]) if caption else grid


def stretched(images: Tensor) -> Tensor:
    """Scale each of the images (n, C, H, W), of any range, to [0, 1]: bases have no natural scale."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(torch.finfo(images.dtype).eps)


def within_range(images: Tensor) -> Tensor:
    """Bring learned, unbounded images (n, C, H, W) into [0, 1]; those within it are unchanged.

    Each is compressed towards mid-grey until 98 % of its values fit, and the rest is clipped.
    """
    distance = (images - 0.5).flatten(1).abs().quantile(0.98, dim=1) / 0.5
    return ((images - 0.5) / distance.clamp_min(1).view(-1, 1, 1, 1) + 0.5).clamp(0, 1)


def class_similarity(coefficients: Tensor) -> Tensor:
    """Cosine similarity (C, C), in [-1, 1], of the classes' mean coefficients, figure 3.

    The coefficients (C, r, K) are v = y^T A_i of each class and slot; their mean over slots is the paper's v-bar.
    """
    mean = F.normalize(coefficients.mean(1), dim=1)
    return mean @ mean.T


def similarity_map(similarity: Tensor, class_names: Sequence[str]) -> Tensor:
    """Draw a similarity matrix (C, C) with its C class names, (3, height, width) in [0, 1]: -1 is blue, 0 white, 1 red.

    Values outside [-1, 1] are clamped. With more classes the cells become smaller, and below the height of a line the
    names are left out. Of more than `MAX_SIDE` classes the first ones are drawn.
    """
    class_names = class_names[:MAX_SIDE]
    similarity = similarity[:MAX_SIDE, :MAX_SIDE]
    cell = min(_CELL, MAX_SIDE // len(class_names))
    values = similarity.clamp(-1, 1).cpu()
    colours = 1 - values.abs() * (1 - torch.where(values < 0, _BLUE, _RED))  # (3, C, C)
    cells = F.interpolate(colours[None], scale_factor=cell, mode="nearest")[0]
    if cell < _FONT_SIZE:
        return cells
    font, names = font_of([name[:_LONGEST_NAME] for name in class_names], _FONT_SIZE)
    side = cell * len(class_names)
    width = max(int(font.getlength(name)) for name in names)
    canvas = Image.new("RGB", (width + _MARGIN + side, width + _MARGIN + side), "white")
    columns = Image.new("RGB", (width, side), "white")  # the names above the columns, before rotation
    for place, name in enumerate(names):
        middle = place * cell + cell // 2
        ImageDraw.Draw(canvas).text((width, width + _MARGIN + middle), name, "black", font, anchor="rm")
        ImageDraw.Draw(columns).text((0, middle), name, "black", font, anchor="lm")
    canvas.paste(columns.rotate(90, expand=True), (width + _MARGIN, 0))
    picture = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float() / 255
    picture[:, -side:, -side:] = cells
    return picture


def captioned(picture: Tensor, caption: str, row_names: Sequence[str] = ()) -> Tensor:
    """Put a line of text below a picture, and names to the left of its rows.

    Args:
        picture: (3, height, width) in [0, 1].
        caption: What to see, in a line; wrapped to the picture's width.
        row_names: A name for each of the rows, which have one height; () for none.

    Returns:
        The larger picture, (3, height', width') in [0, 1].
    """
    font, names = font_of([name[:_LONGEST_NAME] for name in row_names], _FONT_SIZE)
    left = max((int(font.getlength(name)) for name in names), default=-_MARGIN) + _MARGIN
    height, width = picture.shape[1:]
    total = max(left + width, _LEAST_WIDTH)
    lines = textwrap.wrap(caption, max(1, int(total / font.getlength("n"))))
    canvas = Image.new("RGB", (total, height + _LINE * len(lines) + _MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for row, name in enumerate(names):
        draw.text((left - _MARGIN // 2, (row + 0.5) * height / len(names)), name, "black", font, anchor="rm")
    for number, line in enumerate(lines):
        draw.text((_MARGIN // 2, height + _MARGIN // 2 + number * _LINE), line, "black", font)
    result = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float() / 255
    result[:, :height, left : left + width] = picture.cpu()
    return result


def save_picture(picture: Tensor, path: Path, columns: int = 8) -> None:
    """Write a PNG file as a whole; its folder is created if missing.

    Args:
        picture: (C, height, width) in [0, 1], or (n, C, height, width) for a grid.
        path: The file, replaced if it exists.
        columns: Images in a row of a grid.

    Raises:
        UserError: If it cannot be written; the old file stays.
    """
    from torchvision.utils import save_image  # takes seconds, which programs without pictures need not wait for

    with new_file(path, overwrite=True) as file:
        save_image(picture, file, format="png", nrow=columns)
