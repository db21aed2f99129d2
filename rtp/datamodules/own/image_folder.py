"""A user's own images in folders, one folder a class."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.decoding import read_images, shape_of
from rtp.datamodules.sampling import Split, fixed_split
from rtp.errors import DataError
from rtp.utils.checks import check_at_least


class ImageFolder(ImageDataModule):
    """Image files in `train/<class>/` and `test/<class>/`, the classes sorted by folder name.

    Without a `test` folder, a fixed, stratified 20 % of the images in `train` is the test set. All images become grey
    (one channel) if all training images are, otherwise colour.

    Args:
        folder: Folder that holds `train`, absolute or relative to the data root.
        image_size: Height and width in pixels: images are resized to cover this square and cropped at the centre.
            Null keeps their size, which must then be the same for all.
        kwargs: The arguments of `ImageDataModule`.

    Raises:
        UserError: If an argument is out of its range.
    """

    def __init__(self, folder: str, image_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_at_least("image_size", image_size, 1)
        self.folder = folder
        self.image_size = image_size
        self.name = Path(folder).name.lower() or self.name

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the folders in `train`, sorted."""
        names = self._classes(self._path("train"))
        if len(names) == 1:
            raise DataError(
                f"{self._path('train')} holds one class, {names[0]!r}: put one folder for each class there."
            )
        return tuple(names)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, from the headers of all training images."""
        first_of: dict[tuple[int, int, int], str] = {}
        for path, _ in self._samples("train"):
            first_of.setdefault(shape_of((path, Path(path)), self.image_size), path)
        by_size = {(width, height): path for (_, height, width), path in first_of.items()}
        if len(by_size) > 1:
            ((w, h), a), ((v, g), b) = list(by_size.items())[:2]
            raise DataError(
                f"{a} has {w}x{h} pixels, {b} has {v}x{g}: set image_size to resize and crop all images to one size."
            )
        return max(first_of)  # all the same, but colour before grey

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        has_test = self._path("test").is_dir()
        samples = self._samples(split if has_test else "train")
        images = read_images(((path, Path(path)) for path, _ in samples), self.image_shape, self.image_size is not None)
        labels = torch.tensor([label for _, label in samples])
        return (images, labels) if has_test else fixed_split(images, labels, split)

    def _path(self, split: Split) -> Path:
        return self.data_root / Path(self.folder).expanduser() / split

    def _classes(self, path: Path) -> list[str]:
        try:
            return list(find_classes(path)[0])
        except FileNotFoundError as error:
            raise DataError(
                f"There is no folder with images in {path}: make one for each class, such as {path / 'cat'}."
            ) from error

    def _samples(self, split: Split) -> list[tuple[str, int]]:
        path = self._path(split)
        if unknown := set(self._classes(path)) - set(self.class_names):
            raise DataError(f"{path} holds classes that are not in train: {', '.join(sorted(unknown))}.")
        labels = {name: label for label, name in enumerate(self.class_names)}
        try:
            return list(make_dataset(path, labels, IMG_EXTENSIONS, allow_empty=split == "test"))
        except FileNotFoundError as error:
            raise DataError(f"In {path}: {error}.") from error
