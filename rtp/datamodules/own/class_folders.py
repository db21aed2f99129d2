"""Image files of class folders, such as `train/cat/1.png`."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rtp.errors import DataError

SUFFIXES = {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tga"}
SUFFIXES |= {".tif", ".tiff", ".webp"}  # formats of single images that Pillow reads


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders in `folder`, sorted; names that begin with a dot and links to a folder above are none.

    Raises:
        DataError: If there are none.
    """
    found = [entry for entry in _entries(folder) if _is(entry, "is_dir")] if folder.is_dir() else []
    above = _with_parents(folder)
    names = sorted(entry.name for entry in found if os.path.realpath(entry.path) not in above)
    if not names:
        raise DataError(f"There is no folder with images in {folder}: make one for each class, such as {folder}/cat.")
    return names


def image_files(folder: Path, left_out: Counter[str]) -> list[str]:
    """Image files in a folder and all folders below it, sorted; each real folder once, however many links lead to it.

    A link to a folder above is not followed: the other classes lie there, too.

    Args:
        folder: The folder of one class.
        left_out: Counts, by suffix, what is no image file; it is added to.
    """
    files: list[str] = []
    # above the link, and above what it leads to, where the class is a link
    seen = _with_parents(folder.parent) | _with_parents(Path(os.path.realpath(folder)).parent)
    waiting = [str(folder)]
    while waiting:
        real = os.path.realpath(current := waiting.pop())
        if real in seen:
            continue
        seen.add(real)
        for entry in sorted(_entries(current), key=lambda entry: entry.name):
            suffix = os.path.splitext(entry.name)[1]
            if _is(entry, "is_dir"):
                waiting.append(entry.path)
            elif suffix.lower() in SUFFIXES and _is(entry, "is_file"):  # no pipe, no device
                files.append(entry.path)
            else:
                left_out[suffix or "without a suffix"] += 1
    return sorted(files)


def _with_parents(folder: Path) -> set[str]:
    """The real paths of a folder and of all folders above it."""
    real = Path(os.path.realpath(folder))
    return {str(path) for path in (real, *real.parents)}


def loose_files(folder: Path) -> int:
    """Number of files beside the class folders."""
    return sum(not _is(entry, "is_dir") for entry in _entries(folder))


def _entries(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    """Entries of a folder; hidden ones (.DS_Store, .ipynb_checkpoints, ._1.png) are no data."""
    try:
        with os.scandir(folder) as entries:
            yield from [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}): check its permissions.") from error


def _is(entry: "os.DirEntry[str]", what: Literal["is_dir", "is_file"]) -> bool:
    """Whether an entry, or what it links to, is a folder or an ordinary file; False for a link to itself."""
    try:
        return entry.is_dir() if what == "is_dir" else entry.is_file()
    except OSError:
        return False
