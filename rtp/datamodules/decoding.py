"""Images of any mode that Pillow reads, as 8-bit tensors."""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from rtp.errors import DataError, first_line
from rtp.utils.checks import check_at_least

# PIL's modes without colour: of at most 8 bits, with alpha, and of more bits
GREY_MODES = frozenset({"1", "L", "LA", "La"})
DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
# Images decoded at once: their encoded bytes are in memory together.
CHUNK = 512

# One image: its name in messages, and the file or the file's bytes
Source = tuple[str, Path | bytes]
# Height and width in pixels, or one number for a square
ImageSize = int | tuple[int, int]


def open_image(source: Source) -> Image.Image:
    """Open an image without decoding its pixels; the caller closes it.

    Raises:
        DataError: If this is not an image, or one so large that Pillow takes it for an attack (179 million pixels).
    """
    name, file = source
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            return Image.open(BytesIO(file) if isinstance(file, bytes) else file)
    # ValueError: a text chunk that grows too large; SyntaxError: a PNG with a broken chunk
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(name, error) from error


def height_and_width(image_size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels that an argument `image_size` names."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def check_image_size(image_size: ImageSize | None) -> None:
    """Raise UserError if a side is below 1 pixel; None passes."""
    for side in () if image_size is None else height_and_width(image_size):
        check_at_least("image_size", side, 1)


def read_images(
    sources: Iterable[Source],
    count: int,
    shape: tuple[int, int, int] | None = None,
    image_size: ImageSize | None = None,
    ground: int = 255,
) -> Tensor:
    """Decode images of one shape on as many threads as torch has; a terminal has a progress bar if it takes seconds.

    Args:
        sources: The images.
        count: Their number.
        shape: Channels (1: grey, 3: colour; images are converted), height and width; None takes the size of the first
            image, and colour if any image has it.
        image_size: Height and width that images are resized to cover (bilinear, antialiased) and cropped to at the
            centre; None refuses images of another size.
        ground: Grey level in 0..255 behind transparent pixels.

    Returns:
        The images, (n, C, H, W) uint8.

    Raises:
        DataError: If an image cannot be decoded or has another size, or there are no images.
    """

    def decoded(source: Source) -> tuple[str, Tensor]:
        with open_image(source) as image:
            pixels = upright_8_bits(image, source[0], ground)
        if shape is not None:
            pixels = _in_mode(pixels, "L" if shape[0] == 1 else "RGB")
        if image_size is not None:
            height, width = height_and_width(image_size)
            pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BILINEAR)
        return source[0], pixels_of(pixels)

    if not count:
        raise DataError("There is not a single image to read: check the folder or the split.")
    first = "others" if shape is not None else ""
    images = torch.empty(count, *shape, dtype=torch.uint8) if shape is not None else torch.empty(0)
    remaining, number, threads = iter(sources), 0, torch.get_num_threads()
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=count, desc="reading images", unit="image", delay=2, leave=False, disable=None) as bar,
    ):
        while chunk := list(islice(remaining, CHUNK)):
            for name, pixels in map(decoded, chunk) if threads == 1 else pool.map(decoded, chunk):
                if not first:
                    first, images = name, torch.empty(count, *pixels.shape, dtype=torch.uint8)
                if pixels.shape[1:] != images.shape[2:]:
                    (h, w), (v, g) = images.shape[2:], pixels.shape[1:]
                    raise DataError(
                        f"{first} {'have' if shape else 'has'} {w}x{h} pixels, {name} has {g}x{v}: give all images one "
                        "size, or set image_size to resize and crop them."
                    )
                if len(pixels) > images.shape[1]:  # the first one in colour
                    images = images.expand(-1, 3, -1, -1).contiguous()
                images[number] = pixels
                number += 1
            bar.update(len(chunk))
    return images


def upright_8_bits(image: Image.Image, name: str, ground: int = 255) -> Image.Image:
    """An image as a viewer shows it, in mode L (grey) or RGB: turned by its EXIF orientation, without transparency.

    16-bit images are scaled from 0..65535 to 0..255, images of floats from [0, 1].

    Args:
        image: An image of any mode.
        name: Its name in messages.
        ground: Grey level in 0..255 behind transparent pixels.

    Raises:
        DataError: If the image cannot be decoded, or its values leave those ranges.
    """
    try:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in DEEP_MODES:
            return Image.fromarray(_eight_bits(np.asarray(image), name))
        grey = image.mode in GREY_MODES
        if image.has_transparency_data:
            if image.mode in {"La", "RGBa"}:  # premultiplied
                image = image.convert(image.mode.upper())
            behind = Image.new("RGBA", image.size, (ground, ground, ground, 255))
            image = Image.alpha_composite(behind, image.convert("RGBA"))
        return _in_mode(image, "L" if grey else "RGB")
    # ValueError: a mode that has no conversion to RGB; the others: broken files
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise _unreadable(name, error) from error


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The decoded image in this mode; Pillow would copy one that has it already."""
    image.load()
    return image if image.mode == mode else image.convert(mode)


def pixels_of(image: Image.Image) -> Tensor:
    """The pixels of an image of mode L or RGB, (C, H, W) uint8."""
    values = np.array(image)  # a copy, as torch wants memory that it may write
    return torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1)


def _eight_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Grey values of more than 8 bits, scaled to 0..255."""
    most = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (values.min() >= 0 and values.max() <= most):  # NaN, too
        raise DataError(
            f"{name} holds {values.dtype} values from {values.min():g} to {values.max():g}, not from 0 to {most:g}: "
            "scale them before, or store 8 or 16 bits."
        )
    return np.asarray(np.rint(values * (255 / most)), dtype=np.uint8)


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name} cannot be read as an image ({first_line(error)}): replace it, or delete it to do without."
    )
