"""Tiny ImageNet: 200 classes with 500 training and 50 test images each, of 64x64 colour pixels."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import PurePosixPath
from zipfile import BadZipFile, ZipFile

import torch
from torchvision.datasets.utils import download_url

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
from rtp.datamodules.decoding import read_images
from rtp.datamodules.published.downloading import downloading
from rtp.datamodules.sampling import Split
from rtp.errors import DataError

FOLDER = "tiny-imagenet-200"
ZIP = f"{FOLDER}.zip"
URL = f"http://cs231n.stanford.edu/{ZIP}"
# of the published 248,100,043 bytes
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


class TinyImageNet(ImageDataModule):
    """Tiny ImageNet, from `tiny-imagenet-200.zip` or the folder `tiny-imagenet-200/` in the data root.

    The labels of the published test images are secret, so the 10,000 labelled validation images are the test set, as in
    the paper. The classes are ordered by their WordNet ids; `class_names` reads their names from the files.
    """

    name = "tiny_imagenet"
    num_classes = 200
    image_shape = (3, 64, 64)

    def prepare_data(self) -> None:
        """Download the zip if there is neither zip nor folder; raise DataError if that fails."""
        if not ((self.data_root / FOLDER).is_dir() or (self.data_root / ZIP).is_file()):
            by_hand = f"{ZIP} from {URL}, or the folder {FOLDER} extracted from it,"
            with downloading(self.name, self.data_root, (ZIP,), by_hand) as folder:
                download_url(URL, folder, ZIP, MD5)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The first synonym of each class."""
        with self._files() as (_, read):
            wnids = read("wnids.txt").decode().splitlines()
            names = dict(line.split("\t", 1) for line in read("words.txt").decode().splitlines())
        return tuple(names[wnid].split(",")[0] for wnid in sorted(wnids))

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        with self._files() as (names, read):
            classes = {wnid: label for label, wnid in enumerate(sorted(read("wnids.txt").decode().splitlines()))}
            if split == "train":
                # train/<wnid>/images/<image>.JPEG
                wnid_of = {name: PurePosixPath(name).parts[1] for name in names if name.startswith("train/")}
            else:
                rows = [line.split("\t") for line in read("val/val_annotations.txt").decode().splitlines()]
                wnid_of = {f"val/images/{row[0]}": row[1] for row in rows}
            images = read_images(((name, read(name)) for name in wnid_of), len(wnid_of), self.image_shape)
            return images, torch.tensor([classes[wnid] for wnid in wnid_of.values()])

    @contextmanager
    def _files(self) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
        """The sorted names of the JPEG files below `tiny-imagenet-200/`, and a function that reads a file."""
        folder, archive = self.data_root / FOLDER, self.data_root / ZIP
        try:
            if folder.is_dir():
                images = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.JPEG"))
                yield images, lambda name: (folder / name).read_bytes()
            else:
                with ZipFile(archive) as file:
                    names = [name.removeprefix(f"{FOLDER}/") for name in file.namelist() if name.endswith(".JPEG")]
                    yield sorted(names), lambda name: file.read(f"{FOLDER}/{name}")
        except (
            OSError,
            BadZipFile,
            zlib.error,
            LookupError,
            ValueError,
        ) as error:  # ValueError: not UTF-8, two columns
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{folder if folder.is_dir() else archive} is missing or damaged ({one_line(error)}): "
                "delete it and run again to download it."
            ) from error
