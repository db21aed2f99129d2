from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from rtp.datamodules.decoding import ImageSize, Source, read_images
from rtp.errors import DataError


def encoded(pixels: np.ndarray, image_format: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


# height 2, width 3: grey levels 0, 40, ... 200
GREY = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


def test_pixels_and_shapes(tmp_path: Path) -> None:
    (tmp_path / "colour.png").write_bytes(encoded(COLOUR))
    sources: list[Source] = [
        ("file", tmp_path / "colour.png"),
        ("bytes", encoded(COLOUR, "WEBP")),
        ("grey", encoded(GREY)),
    ]
    images = read_images(sources[::2], 2, (3, 2, 3))
    assert images.dtype == torch.uint8
    assert images[0].tolist() == COLOUR.transpose(2, 0, 1).tolist()
    assert images[1].tolist() == [GREY.tolist()] * 3  # grey to colour
    assert read_images(sources[1:2], 1, (3, 2, 3)).shape == (1, 3, 2, 3)
    assert read_images(sources[2:], 1, (1, 2, 3))[0, 0].tolist() == GREY.tolist()


@pytest.mark.parametrize(
    ("pixels", "image_size", "shape"),
    [
        ([GREY], None, (1, 2, 3)),
        ([COLOUR], None, (3, 2, 3)),
        ([GREY], 5, (1, 5, 5)),
        ([GREY, COLOUR], (4, 7), (3, 4, 7)),
        ([GREY > 100], None, (1, 2, 3)),
        ([GREY, GREY, COLOUR, GREY], None, (3, 2, 3)),
    ],
)
def test_the_images_tell_their_shape(
    pixels: list[np.ndarray], image_size: ImageSize | None, shape: tuple[int, int, int]
) -> None:
    sources: list[Source] = [(str(number), encoded(image)) for number, image in enumerate(pixels)]
    images = read_images(sources, len(sources), image_size=image_size)
    assert images.shape == (len(pixels), *shape)
    if len(pixels) == 4:
        assert images[2].tolist() == COLOUR.transpose(2, 0, 1).tolist()
        assert all(images[number].tolist() == [GREY.tolist()] * 3 for number in (0, 1, 3))


def test_resizing_covers_the_square_and_crops_the_centre() -> None:
    # 4 rows of 8 pixels in vertical stripes: the square in the centre is columns 2 to 5
    stripes = np.tile(np.array([0, 0, 100, 100, 200, 200, 0, 0], dtype=np.uint8), (4, 1))
    images = read_images([("image", encoded(stripes))], 1, (1, 4, 4), 4)
    assert images[0, 0].tolist() == [[100, 100, 200, 200]] * 4
    flat = np.full((10, 6), 70, dtype=np.uint8)
    assert read_images([("image", encoded(flat))], 1, (1, 3, 3), 3).tolist() == [[[[70] * 3] * 3]]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"others have 4x4 pixels, b has 3x2: .* set image_size"):
        read_images([("b", encoded(GREY))], 1, (1, 4, 4))


@pytest.mark.parametrize("length", [0, 5, 500])
def test_unreadable_images_are_named(length: int) -> None:
    noise = np.random.default_rng(0).integers(256, size=(20, 20, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"cat\.png cannot be read as an image .*: replace it, or delete it"):
        read_images([("cat.png", encoded(noise)[:length])], 1, (3, 2, 3))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cat\.png cannot be read .*No such file"):
        read_images([("cat.png", tmp_path / "cat.png")], 1)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="not a single image"):
        read_images([], 0, (3, 2, 3))


class Stream(StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_has_a_bar_and_a_log_has_none(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("rtp.datamodules.decoding.tqdm", lambda **options: tqdm(**options | {"delay": 0}))
    read_images([("grey", encoded(GREY))] * 3, 3)
    assert ("reading images" in stream.getvalue()) == terminal
