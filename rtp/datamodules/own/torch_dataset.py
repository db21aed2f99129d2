"""Images of a torch data set, or of arrays."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rtp.datamodules.arrays import of_channels, to_bytes, to_label
from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.sampling import Split
from rtp.errors import DataError, UserError, first_line


class LabelledArrays(Dataset[tuple[Any, Any]]):
    """Images and labels in two arrays or tensors.

    Args:
        images: (n, C, H, W) or (n, H, W); an array may also be (n, H, W, C).
        labels: (n,) or (n, 1) integers.

    Raises:
        UserError: If they differ in length.
    """

    def __init__(self, images: Any, labels: Any) -> None:
        if len(images) != len(labels):
            raise UserError(f"there are {len(images)} images, but {len(labels)} labels: give one label an image")
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], self.labels[index]


class TorchDataset(ImageDataModule):
    """A torch data set of (image, label) pairs with a length, or a pair of arrays, read once into memory.

    Images are PIL images, tensors (C, H, W) or arrays (H, W, C) of one size; see `rtp.datamodules.arrays.to_bytes`.
    They are kept as 8-bit pixels, so a random transform is applied only once. Labels are integers from 0. All images
    become grey (one channel) if all training images are, otherwise colour.

    Args:
        train: The training images; a tuple (images, labels) of arrays or tensors will do.
        test: The test images; without them the data module has no test split.
        class_names: Names of the classes, in the order of the labels; by default the data set's attribute `classes`
            (as in torchvision), or else the labels as numbers.
        classes: Labels of the classes to keep; the others' images are left out, and they are numbered anew in this
            order. By default all.
        kwargs: The arguments of `ImageDataModule`.

    Raises:
        UserError: If an argument is out of its range, or `train` has no length.
    """

    def __init__(
        self,
        train: Dataset[Any] | tuple[Any, Any],
        test: Dataset[Any] | tuple[Any, Any] | None = None,
        class_names: Sequence[str] | None = None,
        classes: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if classes is not None and (len(set(classes)) != len(classes) or not all(c >= 0 for c in classes)):
            raise UserError(f"classes is {list(classes)}: give different labels, from 0")
        self.datasets: dict[Split, Dataset[Any] | None] = {
            "train": as_dataset(train),
            "test": None if test is None else as_dataset(test),
        }
        self.given_class_names = class_names
        self.classes = classes
        self.name = "arrays" if isinstance(train, (tuple, list)) else type(train).__name__.lower()

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names given, or the data set's own, or the numbers of the labels.

        Raises:
            DataError: If there are fewer names than labels, or labels without names are not 0, 1, ...
        """
        largest = int(self._train[1].max())
        names = self.given_class_names or getattr(self.datasets["train"], "classes", None)
        if names is None or callable(names):
            return tuple(map(str, self._numbers(largest)))
        if self.classes is not None and (self.given_class_names is None or len(names) != len(self.classes)):
            if max(self.classes) >= len(names):
                raise DataError(f"classes has the label {max(self.classes)}, but there are {len(names)} class names.")
            names = [names[label] for label in self.classes]
        if len(names) <= largest:
            raise DataError(
                f"class_names has {len(names)} names ({', '.join(map(str, names[:5]))}), but labels go to {largest}: "
                "name every class."
            )
        return tuple(map(str, names))

    def _numbers(self, largest: int) -> Sequence[int]:
        if self.classes is not None:
            return self.classes
        present = self._train[1].unique().tolist()
        if len(present) <= largest:
            few = len(present) <= 5
            some = ", ".join(map(str, present[:5])) + ("" if few else ", ...")
            raise DataError(
                f"{self.name} has the {len(present)} labels {some} and not 0 to {len(present) - 1}: number the classes "
                f"from 0, or pass {f'classes={present}' if few else 'the labels to keep as classes'}"
            )
        return range(largest + 1)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels (3 if any training image has colour), height and width."""
        return cast(tuple[int, int, int], tuple(self._train[0].shape[1:]))

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        if split == "train":
            return self._train
        dataset = self.datasets["test"]
        if dataset is None:
            raise DataError(f"{self.name} was given no test images: pass them as `test`.")
        images, labels = read_pairs(dataset, self.classes)
        return of_channels(images, self.image_shape[0]), labels

    @cached_property
    def _train(self) -> LabelledImages:
        return read_pairs(cast(Dataset[Any], self.datasets["train"]), self.classes)


def as_dataset(data: Any) -> Dataset[Any]:
    """A data set with a length, from one or from a pair (images, labels).

    Raises:
        UserError: If `data` is neither.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        return LabelledArrays(*data)
    if isinstance(data, Mapping):
        raise UserError(f"this is a dict of {', '.join(map(str, [*data][:5]))}: pass one of its values")
    if isinstance(data, DataLoader):
        raise UserError("this is a DataLoader: pass loader.dataset, the data set it draws from")
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise UserError(f"{type(data).__name__} has no length: give a data set with len() and indices.")
    return cast(Dataset[Any], data)


def read_pairs(dataset: Dataset[Any], classes: Sequence[int] | None = None) -> LabelledImages:
    """Read (image, label) pairs as `TorchDataset` takes them.

    Args:
        dataset: The pairs; it has a length.
        classes: Labels to keep, which become 0, 1, ... in this order; None keeps all as they are.

    Returns:
        Images (n, C, H, W) uint8 and labels (n,) int64; C is 3 if any image has colour, or else 1.

    Raises:
        DataError: If there are no images, or an item, image or label is of another kind, size or range.
    """
    images: list[Tensor] = []
    labels: list[int] = []
    for number in range(len(dataset)):  # type: ignore[arg-type]  # `as_dataset` has checked that it has a length
        try:
            item = dataset[number]
        except Exception as error:  # whatever a data set's own code raises
            raise DataError(
                f"Item {number} of the data set cannot be read ({first_line(error)}): repair it or leave it out."
            ) from error
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            what = f"{len(item)} values" if isinstance(item, (tuple, list)) else type(item).__name__
            raise DataError(f"Item {number} of the data set is {what}, not an (image, label) pair: wrap the data set.")
        label = to_label(item[1], number)
        if classes is not None:
            if label not in classes:
                continue
            label = classes.index(label)
        pixels = to_bytes(item[0], f"Image {number}").cpu()
        if images and pixels.shape[1:] != images[0].shape[1:]:
            raise DataError(
                f"Image {number} has the shape {tuple(pixels.shape)}, image 0 {tuple(images[0].shape)}: "
                "resize or crop all images to one size."
            )
        images.append(pixels)
        labels.append(label)
    if not images:
        raise DataError(
            f"The data set {'is empty' if classes is None else f'has no labels {list(classes)}'}: give one with images."
        )
    channels = max(len(pixels) for pixels in images)
    return torch.stack([pixels.expand(channels, -1, -1) for pixels in images]), torch.tensor(labels)
