"""Affine maps of images, interpolated bilinearly."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def resampled(images: Tensor, maps: Tensor) -> Tensor:
    """Move the pixels of images (n, C, H, W) by affine maps, interpolated bilinearly, 0 outside the image.

    PyTorch differentiates the result once, see `SiameseAugmentation.apply`.

    Args:
        images: (n, C, H, W).
        maps: (n, 2, 3) or (1, 2, 3) in the images' type. The pixel (x, y) of a result, counted from its centre with y
            downwards, shows the point `map @ (x, y, 1)` of the image.
    """
    num, _, height, width = images.shape
    # pixels' positions (W,) and (H,) relative to the centre
    x, y = (torch.arange(size, dtype=images.dtype, device=images.device) - (size - 1) / 2 for size in (width, height))
    # not affine_grid: its matrix product may run in TF32, which moves pixels; and its coordinates are relative to the
    # sides, which turns the rotation of a non-square image into a shear
    xx, xy, x0, yx, yy, y0 = maps.reshape(-1, 6, 1, 1).unbind(1)  # each (1 or n, 1, 1)
    from_x, from_y = xx * x + xy * y[:, None] + x0, yx * x + yy * y[:, None] + y0  # (1 or n, H, W)
    if torch.are_deterministic_algorithms_enabled() and not images.is_cpu:
        return _gathered(images, from_x, from_y)
    grid = torch.stack((from_x * (2 / width), from_y * (2 / height)), dim=-1)  # the sides are at -1 and 1
    return grid_sample(images, grid.expand(num, -1, -1, -1), align_corners=False)


def _gathered(images: Tensor, from_x: Tensor, from_y: Tensor) -> Tensor:
    """`grid_sample` as four gathers: on a GPU, the backward pass of these alone can add in a fixed order.

    Args:
        images: (n, C, H, W).
        from_x: (1 or n, H, W) the point that each pixel shows, in pixels from the centre to the right.
        from_y: The same downwards.
    """
    num, channels, height, width = images.shape
    x, y = from_x + (width - 1) / 2, from_y + (height - 1) / 2  # from the first pixel
    left, top = x.floor(), y.floor()
    sums = torch.zeros_like(images)
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            places = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)
            pixels = images.flatten(2).gather(2, places[:, None].expand(num, channels, -1)).view_as(images)
            sums = sums + (inside * down * across)[:, None] * pixels
    return sums
