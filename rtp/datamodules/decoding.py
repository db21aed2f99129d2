"""Image files to tensors."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rtp.errors import DataError

GREY_MODES = frozenset({"1", "L"})
"""PIL's modes of images without colour: 1 bit and 8 bits."""
Source = tuple[str, Path | bytes]
"""One image: its name in messages, and its file or the file's bytes."""


def shape_of(source: Source, image_size: int | None) -> tuple[int, int, int]:
    """Channels (1: grey, 3: colour), height and width of an image, from its header; `image_size` replaces the size.

    Raises:
        DataError: If this is not an image.
    """
    with _opened(source) as image:
        width, height = image.size if image_size is None else (image_size, image_size)
        return 1 if image.mode in GREY_MODES else 3, height, width


def read_images(sources: Iterable[Source], shape: tuple[int, int, int], resize: bool = False) -> Tensor:
    """Decode images of one shape.

    Args:
        sources: The images.
        shape: Channels (1: grey, 3: colour; images are converted), height and width.
        resize: Whether to resize images to cover that size (bilinear, antialiased) and crop them at the centre;
            otherwise another size is an error.

    Returns:
        The images, (n, C, H, W) uint8.

    Raises:
        DataError: If an image cannot be decoded or has another size, or there are no images.
    """
    channels, height, width = shape
    images = []
    for source in sources:
        with _opened(source) as image:
            pixels = image.convert("L" if channels == 1 else "RGB")
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


@contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    name, file = source
    try:
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
            yield image
    except (OSError, SyntaxError) as error:  # SyntaxError: a PNG with a broken chunk
        raise DataError(
            f"{name} cannot be read as an image ({error}): replace it, or delete it to do without it."
        ) from error
