"""Image files to tensors."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rtp.errors import DataError

# PIL's modes of images without colour: 1 bit and 8 bits
GREY_MODES = frozenset({"1", "L"})

# One image: its name in messages, and the file or the file's bytes
Source = tuple[str, Path | bytes]


def open_image(source: Source) -> Image.Image:
    """Open an image without decoding its pixels; the caller closes it.

    Raises:
        DataError: If this is not an image.
    """
    name, file = source
    try:
        return Image.open(BytesIO(file) if isinstance(file, bytes) else file)
    except OSError as error:
        raise _unreadable(name, error) from error


def shape_of(image: Image.Image, image_size: int | None) -> tuple[int, int, int]:
    """Channels (1 for grey images, 3 for all others), height and width of an image as `read_images` returns it.

    Args:
        image: A grey or colour image.
        image_size: Height and width after resizing, in pixels; None keeps the image's own.
    """
    width, height = image.size if image_size is None else (image_size, image_size)
    return 1 if image.mode in GREY_MODES else 3, height, width


def read_images(sources: Iterable[Source], shape: tuple[int, int, int], resize: bool = False) -> Tensor:
    """Decode images of one shape.

    Args:
        sources: The images.
        shape: Channels (1: grey, 3: colour; images are converted), height and width.
        resize: Whether images of another size are resized to cover that size (bilinear, antialiased) and cropped at the
            centre; otherwise they raise an error.

    Returns:
        The images, (n, C, H, W) uint8.

    Raises:
        DataError: If an image cannot be decoded or has another size, or there are no images.
    """
    channels, height, width = shape
    images = []
    for source in sources:
        with open_image(source) as image:
            try:
                pixels = image.convert("L" if channels == 1 else "RGB")
            except (OSError, SyntaxError) as error:  # SyntaxError: a PNG with a broken chunk
                raise _unreadable(source[0], error) from error
        if resize:
            pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BILINEAR)
        if pixels.size != (width, height):
            raise DataError(
                f"{source[0]} has {pixels.width}x{pixels.height} pixels, others have {width}x{height}: give "
                "all images one size, or set image_size where the data module has it."
            )
        images.append(pil_to_tensor(pixels))
    if not images:
        raise DataError("There is not a single image to read: check the folder or the split.")
    return torch.stack(images)


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(f"{name} cannot be read as an image ({error}): replace it, or delete it to do without it.")
