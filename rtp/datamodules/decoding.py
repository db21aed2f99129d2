"""Images of any mode that Pillow reads, as 8-bit tensors."""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from rtp.errors import DataError, first_line
from rtp.utils.checks import check_at_least

# PIL's modes without colour: of at most 8 bits, with alpha, and of more bits
GREY_MODES = frozenset({"1", "L", "LA", "La"})
DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
# values of the EXIF orientation that swap height and width (EXIF 2.32, tag 0x0112)
SIDEWAYS = frozenset({5, 6, 7, 8})
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


def shape_of(source: Source, image_size: ImageSize | None) -> tuple[int, int, int]:
    """Channels (1 for grey images, 3 for all others), height and width of an image as `read_images` returns it.

    Args:
        source: The image, whose header is read.
        image_size: Height and width after resizing; None keeps the image's own, upright.
    """
    with open_image(source) as image:
        return _shape(image, image_size)


def _shape(image: Image.Image, image_size: ImageSize | None) -> tuple[int, int, int]:
    width, height = image.size
    if image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS:  # TIFF's is upright
        width, height = height, width
    if image_size is not None:
        height, width = height_and_width(image_size)
    return 1 if image.mode in GREY_MODES | DEEP_MODES else 3, height, width


def common_shape(sources: Iterable[Source], image_size: ImageSize | None) -> tuple[int, int, int]:
    """Channels (3 if any image has colour), height and width of images, from their headers.

    Raises:
        DataError: If two images have different sizes and `image_size` is None, or there are no images.
    """
    first_of: dict[tuple[int, int, int], str] = {}
    for source in sources:
        first_of.setdefault(shape_of(source, image_size), source[0])
    if not first_of:
        raise DataError("There is not a single image to read: check the folder or the split.")
    by_size = {(width, height): name for (_, height, width), name in first_of.items()}
    if len(by_size) > 1:
        (a, (w, h)), (b, (v, g)) = [(name, size) for size, name in by_size.items()][:2]
        raise DataError(
            f"{a} has {w}x{h} pixels, {b} has {v}x{g}: set image_size to resize and crop all images to one size."
        )
    return max(first_of)  # all of one size, but colour before grey


def read_images(
    sources: Iterable[Source], count: int, shape: tuple[int, int, int], resize: bool = False, ground: int = 255
) -> Tensor:
    """Decode images of one shape on as many threads as torch has, with a progress bar if it takes seconds.

    Args:
        sources: The images.
        count: Their number.
        shape: Channels (1: grey, 3: colour; images are converted), height and width.
        resize: Whether images of another size are resized to cover that size (bilinear, antialiased) and cropped at the
            centre; otherwise they raise an error.
        ground: Grey level in 0..255 behind transparent pixels.

    Returns:
        The images, (n, C, H, W) uint8.

    Raises:
        DataError: If an image cannot be decoded or has another size, or there are no images.
    """
    channels, height, width = shape

    def decoded(source: Source) -> Tensor:
        with open_image(source) as image:
            pixels = upright_8_bits(image, source[0], ground).convert("L" if channels == 1 else "RGB")
        if resize:
            pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BILINEAR)
        if pixels.size != (width, height):
            raise DataError(
                f"{source[0]} has {pixels.width}x{pixels.height} pixels, others have {width}x{height}: give "
                "all images one size, or set image_size where the data module has it."
            )
        return pixels_of(pixels)

    if not count:
        raise DataError("There is not a single image to read: check the folder or the split.")
    images = torch.empty(count, *shape, dtype=torch.uint8)
    remaining, number = iter(sources), 0
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
        tqdm(total=count, desc="reading images", unit="image", delay=2, leave=False) as bar,
    ):
        while chunk := list(islice(remaining, CHUNK)):
            for number, image in enumerate(pool.map(decoded, chunk), number):  # noqa: B020  # goes on where it was
                images[number] = image
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
        image = ImageOps.exif_transpose(image)
        if image.mode in DEEP_MODES:
            return Image.fromarray(_eight_bits(np.asarray(image), name))
        grey = image.mode in GREY_MODES
        if image.has_transparency_data:
            if image.mode in {"La", "RGBa"}:  # premultiplied
                image = image.convert(image.mode.upper())
            behind = Image.new("RGBA", image.size, (ground, ground, ground, 255))
            image = Image.alpha_composite(behind, image.convert("RGBA"))
        return image.convert("L" if grey else "RGB")
    # ValueError: a mode that has no conversion to RGB; the others: broken files
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise _unreadable(name, error) from error


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
