"""Every mode of Pillow in every format that stores it is read as a viewer shows it, or refused by name."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, features

from rtp.datamodules import TorchDataset
from rtp.datamodules.decoding import DEEP_MODES, open_image, read_images, upright_8_bits
from rtp.errors import DataError

# 4 rows of 6 pixels, from black on the left to white on the right
RAMP = np.tile(np.linspace(0, 255, 6), (4, 1)).round().astype(np.uint8)
DEEP = (RAMP.astype(np.uint16) * 257).astype(np.uint16)
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
FORMATS = ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"]
GREY = {"1", "L", "LA", "I", "F", "I;16"}


def ramp(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(DEEP)
    if mode == "I":
        return Image.fromarray(DEEP.astype(np.int32))
    if mode == "F":
        return Image.fromarray(RAMP.astype(np.float32) / 255)
    if mode == "LAB":
        neutral = Image.new("L", (6, 4), 128)
        return Image.merge("LAB", [Image.fromarray(RAMP), neutral, neutral])
    grey = Image.fromarray(RAMP)
    return (grey.convert("RGB") if mode in ("YCbCr", "HSV", "CMYK", "PA") else grey).convert(
        "P" if mode == "PA" else mode
    )


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_a_ramp_stays_a_ramp(mode: str, image_format: str) -> None:
    if mode in DEEP_MODES and image_format in ("WEBP", "GIF"):
        pytest.skip(f"Pillow clips {mode} to 8 bits when it writes {image_format}")
    try:
        file = encoded(ramp(mode), image_format, **({"lossless": True} if image_format == "WEBP" else {}))
    except (OSError, ValueError, KeyError):
        pytest.skip(f"{image_format} has no mode {mode}")
    with open_image(("ramp", file)) as image:
        stored = image.mode
    pixels = read_images([("ramp", file)], 1)
    shape = pixels.shape[1:]
    assert shape[1:] == (4, 6)
    if mode in GREY and stored not in ("P", "RGB", "RGBA"):
        assert shape[0] == 1
    rows = pixels[0].float().mean((0, 1))
    assert rows[0] < 20
    assert rows[-1] > 235
    if mode != "1":
        assert (rows.diff() > 20).all(), rows


@pytest.mark.parametrize("mode", MODES)
def test_pil_images_of_a_data_set(mode: str) -> None:
    pairs = [(ramp(mode), label) for label in (0, 0, 1, 1)]
    images, _ = TorchDataset(pairs).load("train")  # type: ignore[arg-type]  # a list has a length and items
    assert images.shape[1] == (1 if mode in GREY else 3)
    assert len(images.unique()) >= (2 if mode == "1" else 6)


def test_16_bits_are_scaled_by_their_range() -> None:
    # an X-ray with values to 40,000: hand-computed 40000 / 257 = 155.6
    values = np.array([[0, 257, 20000, 40000]], dtype=np.uint16)
    file = encoded(Image.fromarray(values), "PNG")
    assert read_images([("x-ray", file)], 1, (1, 1, 4)).flatten().tolist() == [0, 1, 78, 156]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70000]], dtype=np.int32), "depth holds int32 values from 0 to 70000, not from 0 to 65535"),
        (np.array([[-5, 7]], dtype=np.int32), "from -5 to 7"),
        (np.array([[0.0, 40.5]], dtype=np.float32), "depth holds float32 values from 0 to 40.5, not from 0 to 1"),
        (np.array([[0.0, np.nan]], dtype=np.float32), "from nan to nan"),
    ],
)
def test_values_of_no_known_range_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        upright_8_bits(Image.fromarray(values), "depth")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
@pytest.mark.parametrize(("ground", "background"), [(255, 255), (0, 0), (100, 100)])
def test_what_is_transparent_shows_the_ground(mode: str, ground: int, background: int) -> None:
    # all pixels are black; the alpha channel is the drawing: opaque on the left, nothing on the right
    alpha = Image.fromarray(np.array([[255, 255, 0, 0]], dtype=np.uint8))
    image = Image.new("LA" if mode == "LA" else "RGBA", (4, 1))
    image.putalpha(alpha)
    image = image.convert(mode) if mode == "PA" else image
    pixels = np.asarray(upright_8_bits(image, "drawing", ground))
    assert upright_8_bits(image, "drawing").mode == ("L" if mode == "LA" else "RGB")
    if mode != "PA":  # Pillow's palette has lost the alpha channel
        assert pixels[0, 0].max() == 0
        assert pixels[0, 3].min() == pixels[0, 3].max() == background


def test_transparency_of_a_palette_and_of_one_colour() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
    file = encoded(image, "PNG", transparency=0)
    assert read_images([("grey", file)], 1, (1, 1, 2)).flatten().tolist() == [255, 1]
    palette = image.convert("P")
    file = encoded(palette, "PNG", transparency=0)
    assert read_images([("palette", file)], 1, (3, 1, 2))[0, :, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_images_stand_upright(orientation: int, image_format: str) -> None:
    # the top left corner is white; where it comes to lie by the EXIF standard, as (row, column) of a 4 x 8 image
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    pixels = np.zeros((32, 64), dtype=np.uint8)
    pixels[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(Image.fromarray(pixels), image_format, exif=exif)
    sideways = orientation >= 5
    read = read_images([("photo", file)], 1)[0].float().mean(0)
    assert read.shape == ((64, 32) if sideways else (32, 64))
    assert read[corner[orientation]] > 240
    assert sum(float(read[at]) > 128 for at in ((0, 0), (0, -1), (-1, 0), (-1, -1))) == 1


def test_a_bomb_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    file = encoded(Image.fromarray(RAMP), "PNG")  # 24 pixels, more than twice the limit
    with pytest.raises(DataError, match=r"bomb cannot be read as an image \(Image size \(24 pixels\) exceeds"):
        open_image(("bomb", file))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # below twice the limit Pillow warns; such an image is read
    assert read_images([("large", file)], 1, (1, 4, 6)).shape == (1, 1, 4, 6)


def test_a_text_chunk_that_grows_is_one_line() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", "x" * 2_000_000, zip=True)
    file = encoded(Image.fromarray(RAMP), "PNG", pnginfo=info)
    with pytest.raises(DataError, match=r"text cannot be read as an image \(Decompressed data too large"):
        read_images([("text", file)], 1, (1, 4, 6))


def test_many_images_keep_their_order() -> None:
    sources = [(str(n), encoded(Image.new("L", (2, 2), n % 251), "PNG")) for n in range(1100)]
    images = read_images(sources, 1100, (1, 2, 2))
    assert torch.equal(images[:, 0, 0, 0], torch.arange(1100).remainder(251).to(torch.uint8))
    assert features.check("webp")  # the formats above were tested
