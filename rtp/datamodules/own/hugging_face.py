"""Labelled image data sets that Hugging Face's library `datasets` reads, from the hub or from files."""

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
from rtp.datamodules.decoding import ImageSize, Source, check_image_size, read_images
from rtp.datamodules.inspection import check_divisible
from rtp.datamodules.sampling import Split, fixed_part
from rtp.errors import DataError, UserError
from rtp.utils.checks import check_in

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)


class HuggingFace(ImageDataModule):
    """A data set of the hub, or of local files in one of its formats (parquet, image folders, ...).

    The classes are the names of the label column or, without names, its sorted distinct values in the training split.
    All images become grey (one channel) if all training images are, otherwise colour. Needs the library `datasets`.

    Splits are names, or parts of one such as `train[80%:]`.

    Args:
        path: Name of a data set on the hub, or a folder, absolute or relative to the data root (tried first), or the
            name of a format such as `parquet` together with `data_files`.
        name: Name of the configuration, for data sets that have several.
        data_files: File pattern of each split, such as `train: train-*.parquet`; null takes all files of `path`.
        image_column: Column of the images.
        label_column: Column of the labels, numbers or strings.
        train_split: The training split.
        validation_split: The validation split; null takes `validation_fraction` of the training images.
        test_split: The test split; null takes `test` or, where there is none, a fixed, stratified 20 % of the training
            split.
        image_size: Height and width in pixels, or one number for a square: images are resized to cover it and cropped
            at the centre. Null keeps their size, which must then be the same for all.
        ground: Grey level in 0..255 behind transparent pixels; 255 is white.
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
        validation_split: str | None = None,
        test_split: str | None = None,
        image_size: ImageSize | None = None,
        ground: int = 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_image_size(image_size)
        check_in("ground", ground, "[0, 255]")
        self.path = path
        self.configuration = name
        self.data_files = data_files
        self.image_column = image_column
        self.label_column = label_column
        self.train_split = train_split
        self.validation_split = validation_split
        self.test_split = test_split
        self.image_size = image_size
        self.ground = ground
        self.name = Path(path).name.lower() or self.name

    @classmethod
    def of(cls, dataset: "Dataset", **kwargs: Any) -> "HuggingFace":
        """The data module of a data set that is loaded already: its image column and its label column.

        Args:
            dataset: One split, with one column of images and one of labels.
            kwargs: The arguments of `HuggingFace`, without `path` and columns.

        Raises:
            DataError: If there is another number of such columns, or a transform, which would not be applied.
            UserError: If the data set is streamed.
        """
        from datasets import ClassLabel, Image, IterableDataset

        if isinstance(dataset, IterableDataset):
            raise UserError("the data set is streamed and has no length: load it without streaming=True")
        if dataset.format["type"] == "custom":
            raise DataError(
                "the data set has a transform, which would not be applied: pass dataset.with_format(None), or the "
                "transformed images and labels as a tuple of arrays"
            )
        dataset = dataset.with_format(None)  # arrays of a format would stand for the files of images
        features = dataset.features
        images = [name for name, feature in features.items() if isinstance(feature, Image)]
        labels = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        labels = labels if len(labels) == 1 else [name for name in ("label", "labels") if name in features][:1]
        if len(images) != 1 or not labels:
            raise DataError(
                f"the data set has the columns {', '.join(features)}, not one of images and one named label: "
                "use select_columns and rename_column"
            )
        data = cls(dataset.info.dataset_name or "dataset", None, None, images[0], labels[0], **kwargs)
        data._splits = {"train": dataset}
        return data

    def prepare_data(self) -> None:
        """Download the data set unless it is cached.

        Raises:
            DataError: If it cannot be found or read.
            UserError: If the `datasets` library is not installed.
        """
        _ = self._splits

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the label column, or its values."""
        names = getattr(self._split(self.train_split).features[self.label_column], "names", self._label_values)
        return tuple(map(str, names))

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
        test = self._test_name
        return self._read(self.train_split if test is None else test, self.image_shape, None if test else "test")

    def load_validation(self) -> LabelledImages | None:
        """Read the validation split, if one is named; see the base class."""
        return None if self.validation_split is None else self._read(self.validation_split, self.image_shape)

    @cached_property
    def _train(self) -> LabelledImages:
        if self._test_name is not None:
            return self._read(self.train_split)
        log.info("%s has no split 'test': a fixed fifth of %r is the test set", self.path, self.train_split)
        return self._read(self.train_split, part="train")

    @property
    def _test_name(self) -> str | None:
        return self.test_split or ("test" if "test" in self._splits else None)

    def _read(self, split: str, shape: tuple[int, int, int] | None = None, part: Split | None = None) -> LabelledImages:
        """Read a split, or the part of it that is the training or test set."""
        values = list(self._split(split)[self.label_column])
        self._check_labels(values, split)
        if unknown := set(values) - set(self._label_values):
            raise DataError(
                f"The {split} split of {self.path} holds labels that are no class of the training split: "
                f"{', '.join(sorted(map(str, unknown)))}."
            )
        classes = {value: label for label, value in enumerate(self._label_values)}
        labels = torch.tensor([classes[value] for value in values])
        if part is not None:
            check_divisible(f"the split {split!r} of {self.path}", labels, self.class_names)
        rows = None if part is None else fixed_part(labels, part)
        labels = labels if rows is None else labels[rows]
        return read_images(self._images(split, rows), len(labels), shape, self.image_size, self.ground), labels

    @cached_property
    def _label_values(self) -> list[int] | list[str]:
        train = self._split(self.train_split)
        names = getattr(train.features[self.label_column], "names", None)  # a ClassLabel has names
        if names is not None:
            return list(range(len(names)))
        values = list(train[self.label_column])
        self._check_labels(values, self.train_split)
        return sorted(set(values))

    def _check_labels(self, values: list[Any], split: str) -> None:
        kind = str if isinstance(values[0], str) else int
        for number, value in enumerate(values):
            if not isinstance(value, kind):
                raise DataError(
                    f"The column {self.label_column!r} of {self.path} has {value!r} in row {number} of the {split} "
                    "split, but each image needs one label, all integers or all strings: set label_column, or filter "
                    "the rows."
                )

    def _images(self, split: str, rows: Tensor | None = None) -> Iterator[Source]:
        from datasets import Image

        dataset = self._split(split).select_columns(self.image_column)
        try:
            encoded = dataset.cast_column(self.image_column, Image(decode=False))
        except (TypeError, ValueError, NotImplementedError) as error:
            feature = dataset.features[self.image_column]
            raise DataError(
                f"The column {self.image_column!r} of {self.path} holds {feature}, not images: set image_column."
            ) from error
        numbers = range(len(encoded)) if rows is None else rows.tolist()
        for number, row in zip(numbers, encoded if rows is None else encoded.select(numbers), strict=True):
            name, image = f"Image {number} of the {split} split of {self.path}", row[self.image_column]
            if image is None:
                raise DataError(f"{name} is missing (null): filter the rows.")
            yield name, image["bytes"] or Path(image["path"])

    def _split(self, split: str) -> "Dataset":
        name, _, part = split.partition("[")
        if name not in self._splits:
            splits = ", ".join(self._splits)
            argument = next(
                argument
                for argument in ("train_split", "validation_split", "test_split")
                if getattr(self, argument) == split
            )
            raise DataError(f"{self.path} has no split {name!r}, but {splits}: set {argument} to one of them.")
        dataset = self._loaded(split) if part else self._splits[name]
        for argument in ("image_column", "label_column"):
            column = getattr(self, argument)
            if column not in dataset.column_names:
                columns = ", ".join(dataset.column_names)
                raise DataError(f"{self.path} has no column {column!r}, but {columns}: set {argument} to one of them.")
        return dataset

    @cached_property
    def _splits(self) -> "Mapping[str, Dataset]":
        return self._loaded(None)

    def _loaded(self, split: str | None) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise UserError("HuggingFace needs the library `datasets`: pip install datasets.") from error
        folder = self.data_root / Path(self.path).expanduser()
        path = str(folder) if folder.is_dir() else self.path
        try:
            return datasets.load_dataset(path, self.configuration, data_files=self.data_files, split=split)
        # OSError: unknown name, no network, no such files; ValueError: unknown configuration or part of a split
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(
                f"{self.path} cannot be read ({one_line(error)}): check the name, the network, "
                f"or put its files into {folder}."
            ) from error
