"""Fonts that have the letters of class names."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import ImageFont

# Fonts for Chinese, Japanese and Korean that come with Linux distributions, Windows and macOS, as Pillow finds them by
# file name in the system's folders: such a font has 10 MB and more, too much to bring along.
SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "NanumGothic.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
)


def font_of(names: Sequence[str], size: int) -> tuple[Any, list[str]]:
    """A font of Pillow for class names, and what to write with it.

    Matplotlib's DejaVu Sans (Latin, Greek, Cyrillic, Arabic, ...), or else the first of `SYSTEM_FONTS` that has all
    letters. Where none has, the names that DejaVu Sans has not become "class 3", by their place.

    Args:
        names: The names.
        size: In pixels.

    Returns:
        The font, and the names as many as given.
    """
    first = _bundled(size)
    missing = [place for place, name in enumerate(names) if not _draws(first, name)]
    if not missing:
        return first, list(names)
    for file in SYSTEM_FONTS:
        try:
            font = ImageFont.truetype(file, size)
        except OSError:
            continue
        if all(_draws(font, name) for name in names):
            return font, list(names)
    return first, [f"class {place}" if place in missing else name for place, name in enumerate(names)]


def _bundled(size: int) -> Any:
    """Matplotlib's DejaVu Sans, or Pillow's own font where matplotlib is not installed."""
    found = importlib.util.find_spec("matplotlib")
    dejavu = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if found and found.origin else None
    if dejavu is not None and dejavu.is_file():
        return ImageFont.truetype(dejavu, size)
    return ImageFont.load_default(size)


def _draws(font: Any, text: str) -> bool:
    """Whether the font has all letters: the others are drawn as U+FFFF, which no font has."""
    none = bytes(font.getmask("\uffff"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != none for letter in text)
