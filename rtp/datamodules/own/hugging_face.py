"""Labelled image data sets that Hugging Face's library `datasets` reads, from the hub or from files."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
from rtp.datamodules.decoding import Source, read_images, shape_of
from rtp.datamodules.sampling import Split
from rtp.errors import DataError, UserError
from rtp.utils.checks import check_at_least

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


class HuggingFace(ImageDataModule):
    """A data set of the hub, or of local files in one of its formats (parquet, image folders, ...).

    The classes are the names of the label column or, without names, its sorted distinct values in the training split.
    All images become grey (one channel) if the first training image is, otherwise colour. Needs the library `datasets`.

    Args:
        path: Name of a data set on the hub, or a folder, absolute or relative to the data root (tried first), or the
            name of a format such as `parquet` together with `data_files`.
        name: Name of the configuration, for data sets that have several.
        data_files: File pattern of each split, such as `train: train-*.parquet`; null takes all files of `path`.
        image_column: Column of the images.
        label_column: Column of the labels, numbers or strings.
        train_split: Name of the training split.
        test_split: Name of the test split.
        image_size: Height and width in pixels: images are resized to cover this square and cropped at the centre.
            Null keeps their size, which must then be the same for all.
        kwargs: The arguments of `ImageDataModule`.

    Raises:
        UserError: If an argument is out of its range.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        data_files: dict[str, str] | None = None,
        image_column: str = "image",
        label_column: str = "label",
        train_split: str = "train",
        test_split: str = "test",
        image_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least("image_size", image_size, 1)
        self.path = path
        self.configuration = name
        self.data_files = data_files
        self.image_column = image_column
        self.label_column = label_column
        self.split_names: dict[Split, str] = {"train": train_split, "test": test_split}
        self.image_size = image_size
        self.name = Path(path).name.lower() or self.name

    def prepare_data(self) -> None:
        """Download the data set unless it is cached; raise UserError without `datasets`, DataError if this fails."""
        _ = self._dataset

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the label column, or its values."""
        return tuple(map(str, self._classes.values()))

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the first training image, after resizing."""
        return shape_of(next(self._images("train")), self.image_size)

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        values = list(self._split(split)[self.label_column])
        if unknown := set(values) - set(self._classes):
            raise DataError(
                f"The {split} split of {self.path} holds labels that are no class of the training split: "
                f"{', '.join(sorted(map(str, unknown)))}."
            )
        labels = {value: label for label, value in enumerate(self._classes)}
        images = read_images(self._images(split), self.image_shape, resize=self.image_size is not None)
        return images, torch.tensor([labels[value] for value in values])

    @cached_property
    def _classes(self) -> dict[int | str, int | str]:
        """The name of each value of the label column."""
        train = self._split("train")
        names = getattr(train.features[self.label_column], "names", None)  # a ClassLabel has names
        return {v: v for v in sorted(train.unique(self.label_column))} if names is None else dict(enumerate(names))

    def _images(self, split: Split) -> Iterator[Source]:
        from datasets import Image

        dataset = self._split(split).select_columns(self.image_column)
        try:
            encoded = dataset.cast_column(self.image_column, Image(decode=False))
        except (TypeError, ValueError, NotImplementedError) as error:
            feature = dataset.features[self.image_column]
            raise DataError(
                f"The column {self.image_column!r} of {self.path} holds {feature}, not images: set image_column."
            ) from error
        for number, row in enumerate(encoded):
            image = row[self.image_column]
            yield f"Image {number} of the {split} split of {self.path}", image["bytes"] or Path(image["path"])

    def _split(self, split: Split) -> "Dataset":
        name = self.split_names[split]
        if name not in self._dataset:
            splits = ", ".join(self._dataset)
            raise DataError(f"{self.path} has no split {name!r}, but {splits}: set {split}_split to one of them.")
        dataset = self._dataset[name]
        for argument in ("image_column", "label_column"):
            column = getattr(self, argument)
            if column not in dataset.column_names:
                columns = ", ".join(dataset.column_names)
                raise DataError(f"{self.path} has no column {column!r}, but {columns}: set {argument} to one of them.")
        return dataset

    @cached_property
    def _dataset(self) -> "DatasetDict":
        try:
            import datasets
        except ImportError as error:
            raise UserError("HuggingFace needs the library `datasets`: pip install datasets.") from error
        folder = self.data_root / Path(self.path).expanduser()
        path = str(folder) if folder.is_dir() else self.path
        try:
            return datasets.load_dataset(path, self.configuration, data_files=self.data_files)
        # OSError: unknown name, no network, no such files; ValueError: unknown configuration
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(
                f"{self.path} cannot be read ({one_line(error)}): check the name, the network, "
                f"or put its files into {folder}."
            ) from error
