"""Images and labels as Python programs have them (PIL, NumPy, tensors) to tensors (C, H, W) and integers."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rtp.datamodules.decoding import pixels_of, upright_8_bits
from rtp.errors import DataError, UserError

CHANNELS = (1, 3)


def to_bytes(image: Any, name: str) -> Tensor:
    """One image as (C, H, W) uint8 with C = 1 or 3.

    Args:
        image: A PIL image of any mode; a tensor (C, H, W) or (H, W); a NumPy array (H, W, C), (H, W) or (C, H, W).
            Pixels are uint8, uint16 (scaled from 0..65535), booleans or floats in [0, 1] (rounded to 8 bits).
        name: Its name in messages.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(image, Image.Image):
        return pixels_of(upright_8_bits(image, name))
    pixels = channels_first(image, 3, name)
    return pixels if pixels.dtype == torch.uint8 else (to_floats(pixels, name) * 255).round().to(torch.uint8)


def channels_first(images: Any, dims: int, name: str) -> Tensor:
    """A tensor or NumPy array of one image (3 dimensions) or of several (4) with channels before height and width.

    Args:
        images: A tensor (..., C, H, W) or (..., H, W), or a NumPy array, which may also be (..., H, W, C).
        dims: 3 or 4.
        name: Its name in messages.

    Returns:
        A tensor (..., C, H, W) on the CPU if an array or image was given, or else on its device; C = 1 or 3.

    Raises:
        DataError: If it has other dimensions or channels.
    """
    is_array = isinstance(images, np.ndarray)
    if not (is_array or isinstance(images, Tensor)):
        raise DataError(
            f"{name} is {type(images).__name__}, not a PIL image, a tensor (C, H, W) or an array (H, W, C): "
            "add a transform to the data set."
        )
    pixels = torch.from_numpy(np.ascontiguousarray(images)) if is_array else images
    shape = tuple(pixels.shape)
    if pixels.dim() == dims - 1:
        pixels = pixels.unsqueeze(-3)
    if pixels.dim() != dims:
        kind = "an array" if is_array else "a tensor"
        raise DataError(f"{name} is {kind} of shape {shape}, not (C, H, W): add a transform to the data set.")
    if is_array and pixels.shape[-1] <= 4 and not (pixels.shape[-3] in CHANNELS and pixels.shape[-1] not in CHANNELS):
        pixels = pixels.movedim(-1, -3)
    if pixels.shape[-3] not in CHANNELS:
        last = pixels.shape[-1] in CHANNELS
        order = "2, 0, 1" if dims == 3 else "0, 3, 1, 2"
        fix = f"channels come first, use image.permute({order})" if last else "choose or convert channels"
        raise DataError(f"{name} has the shape {shape}, which is {pixels.shape[-3]} channels and not 1 or 3: {fix}.")
    return pixels


def images_of_shape(images: Any, image_shape: tuple[int, int, int]) -> tuple[Tensor, bool]:
    """Real images as a program has them, as a batch (n, C, H, W) of uint8 or of float32 in [0, 1].

    Args:
        images: One image or several: a PIL image, tensors (n, C, H, W) or arrays (n, H, W, C), uint8 or floats in
            [0, 1].
        image_shape: (C, H, W).

    Returns:
        The batch, and whether it is of one image that was given without a batch dimension.

    Raises:
        UserError: If they have another type or shape.
    """
    channels, height, width = image_shape
    if isinstance(images, Image.Image):
        images = of_channels(to_bytes(images, "the image")[None], channels)[0]
    shapes = {(channels, height, width), (height, width, channels)} | ({(height, width)} if channels == 1 else set())
    is_one = tuple(getattr(images, "shape", ())) in shapes
    pixels = channels_first(images[None] if is_one else images, 4, "images")
    if pixels.shape[1:] != image_shape:
        raise UserError(f"images are {type_and_shape(pixels)}, not (n, {', '.join(map(str, image_shape))})")
    return pixels if pixels.dtype == torch.uint8 else to_floats(pixels, "images"), is_one


def type_and_shape(tensor: Tensor) -> str:
    """A tensor in a message: "(5, 3, 8, 8) uint8"."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def to_floats(pixels: Tensor, name: str) -> Tensor:
    """Pixels of any type that `to_bytes` takes, to float32 in [0, 1] on their device.

    Raises:
        DataError: If they have another type or range.
    """
    if pixels.dtype == torch.bool:
        return pixels.float()
    if pixels.dtype in (torch.uint8, torch.uint16):
        return pixels.float() / torch.iinfo(pixels.dtype).max
    values = pixels.detach().double()
    if not pixels.is_floating_point() or not (values.min() >= 0 and values.max() <= 1):  # NaN, too
        raise DataError(
            f"{name} holds {pixels.dtype} from {values.min():g} to {values.max():g}, not uint8 or floats in [0, 1]: "
            "give pixels that are not normalised."
        )
    return pixels.detach().float()


def to_label(label: Any, number: int) -> int:
    """A label as an integer: a number, or an array or tensor of one.

    Raises:
        DataError: If it is no integer of at least 0.
    """
    with suppress(TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
        value = label.item() if hasattr(label, "item") else label
        if not isinstance(value, str) and int(value) == value and value >= 0:
            return int(value)
    raise DataError(f"The label of image {number} is {label!r}, not an integer: number the classes from 0.")


def of_channels(images: Tensor, channels: int) -> Tensor:
    """Images (n, C, H, W) uint8 with 1 or 3 channels: grey is repeated, colour becomes its luma (ITU-R 601-2)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor([299, 587, 114], dtype=torch.int64)  # thousandths, as in Pillow's conversion to L
    return ((images * weights.view(1, 3, 1, 1)).sum(1, keepdim=True) / 1000).round().to(torch.uint8)
