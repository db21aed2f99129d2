"""A user's own images in folders, one folder a class."""

import logging
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.decoding import ImageSize, check_image_size, read_images
from rtp.datamodules.inspection import check_divisible
from rtp.datamodules.own.class_folders import class_folders, image_files, loose_files
from rtp.datamodules.sampling import Split, fixed_part
from rtp.errors import DataError
from rtp.utils.checks import check_in

log = logging.getLogger(__name__)

VALIDATION_FOLDERS = ("val", "valid", "validation")


class ImageFolder(ImageDataModule):
    """Image files in `train/<class>/`, `val/<class>/` and `test/<class>/`, the classes sorted by folder name.

    Without a folder `val` (or `valid`, `validation`), `validation_fraction` of the training images is the validation
    set. Without a folder `test`, a fixed, stratified 20 % of the images in `train` is the test set. All images become
    grey (one channel) if all training images are, otherwise colour; they are turned by their EXIF orientation. Names
    that begin with a dot are no data.

    Args:
        folder: Folder that holds `train`, absolute or relative to the data root.
        image_size: Height and width in pixels, or one number for a square: images are resized to cover it and cropped
            at the centre. Null keeps their size, which must then be the same for all.
        ground: Grey level in 0..255 behind transparent pixels; 255 is white.
        kwargs: The arguments of `ImageDataModule`.

    Raises:
        UserError: If an argument is out of its range.
    """

    def __init__(self, folder: str, image_size: ImageSize | None = None, ground: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_image_size(image_size)
        check_in("ground", ground, "[0, 255]")
        self.folder = folder
        self.image_size = image_size
        self.ground = ground
        self.name = Path(folder).name.lower() or self.name

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the folders in `train`, sorted.

        Raises:
            DataError: If there is one class or none, or another split has classes that are not in `train`.
        """
        train = self._path("train")
        names = class_folders(train)
        if len(names) == 1:
            raise DataError(f"{train} holds one class, {names[0]!r}: put one folder for each class there.")
        for split in ("test", *VALIDATION_FOLDERS):
            path = self._path(split)
            if path.is_dir() and (unknown := set(class_folders(path)) - set(names)):
                raise DataError(f"{path} holds classes that are not in train: {', '.join(sorted(unknown))}.")
        return tuple(names)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels (3 if any training image has colour), height and width; reads the training images."""
        return cast(tuple[int, int, int], tuple(self._train[0].shape[1:]))

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        if split == "train":
            _, train = self.image_shape, self._train
            del self._train  # the caller's now; another call reads it again
            return train
        if self._path("test").is_dir():
            return self._read(self._files("test"), self.image_shape)
        return self._read(self._part("test"), self.image_shape)

    def load_validation(self) -> LabelledImages | None:
        """Read the folder `val`, if there is one; see the base class."""
        folders = [name for name in VALIDATION_FOLDERS if self._path(name).is_dir()]
        return self._read(self._files(folders[0]), self.image_shape) if folders else None

    @cached_property
    def _train(self) -> LabelledImages:
        if self._path("test").is_dir():
            return self._read(self._train_files)
        log.info("no folder %s: a fixed fifth of train is the test set", self._path("test"))
        return self._read(self._part("train"))

    def _part(self, split: Split) -> list[tuple[str, int]]:
        labels = torch.tensor([label for _, label in self._train_files])
        check_divisible(str(self._path("train")), labels, self.class_names)
        return [self._train_files[number] for number in fixed_part(labels, split).tolist()]

    @cached_property
    def _train_files(self) -> list[tuple[str, int]]:
        files = self._files("train")
        numbers = Counter(label for _, label in files)
        if empty := [name for label, name in enumerate(self.class_names) if not numbers[label]]:
            raise DataError(
                f"{self._path('train')} holds no images of the classes {', '.join(empty)}: remove the folders."
            )
        return files

    def _files(self, split: str) -> list[tuple[str, int]]:
        """Image files of a split with their labels, class by class; says what is left out."""
        folder, left_out = self._path(split), Counter[str]()
        files = [
            (path, label)
            for label, name in enumerate(self.class_names)
            if (folder / name).is_dir()
            for path in image_files(folder / name, left_out)
        ]
        if loose := loose_files(folder):
            left_out["beside the class folders"] = loose
        if left_out:
            kinds = ", ".join(f"{number} {kind}" for kind, number in left_out.most_common())
            log.info("%s: %d images read, %d files left out (%s)", folder, len(files), left_out.total(), kinds)
        return files

    def _read(self, files: list[tuple[str, int]], shape: tuple[int, int, int] | None = None) -> LabelledImages:
        sources = ((path, Path(path)) for path, _ in files)
        images = read_images(sources, len(files), shape, self.image_size, self.ground)
        return images, torch.tensor([label for _, label in files])

    def _path(self, split: str) -> Path:
        return self.data_root / Path(self.folder).expanduser() / split
