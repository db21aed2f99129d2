"""Images of a torch data set."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.decoding import GREY_MODES
from rtp.datamodules.sampling import Split
from rtp.errors import DataError, UserError


class TorchDataset(ImageDataModule):
    """A torch data set of (image, label) pairs with a length, read once into memory.

    Images are PIL images or tensors (C, H, W) of one size, uint8 or floats in [0, 1]; they are kept as 8-bit pixels,
    so a random transform is applied only once. Labels are integers from 0. All PIL images become grey (one channel) if
    the first image is a grey one, otherwise colour.

    Args:
        train: The training images.
        test: The test images; without them the data module has no test split.
        class_names: Names of the classes, in the order of the labels; by default the data set's attribute `classes`
            (as in torchvision), or else the labels as numbers.
        kwargs: The arguments of `ImageDataModule`.

    Raises:
        UserError: If an argument is out of its range, or `train` has no length.
    """

    def __init__(
        self,
        train: Dataset[Any],
        test: Dataset[Any] | None = None,
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for dataset in (train, test):
            if dataset is not None and not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
                raise UserError(f"{type(dataset).__name__} has no length: give a data set with len() and indices.")
        self.train = train
        self.test = test
        self.given_class_names = class_names
        self.name = type(train).__name__.lower()

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names given, or the data set's own, or the numbers of the labels."""
        names = self.given_class_names or getattr(self.train, "classes", None)
        return tuple(map(str, names or range(int(self._train[1].max()) + 1)))

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the first training image."""
        return cast(tuple[int, int, int], tuple(self._train[0].shape[1:]))

    def load(self, split: Split) -> LabelledImages:
        """Read a split; see the base class."""
        if split == "train":
            return self._train
        if self.test is None:
            raise DataError(f"{self.name} was given no test images: pass them as `test`.")
        return read_pairs(self.test)

    @cached_property
    def _train(self) -> LabelledImages:
        return read_pairs(self.train)


def read_pairs(dataset: Dataset[Any]) -> LabelledImages:
    """Read (image, label) pairs as `TorchDataset` takes them into images (n, C, H, W) uint8 and labels (n,) int64.

    Raises:
        DataError: If there are no images, or an image or label is of another kind, size or range.
    """
    images: list[Tensor] = []
    labels: list[int] = []
    grey = False
    for number in range(len(dataset)):  # type: ignore[arg-type]  # TorchDataset has checked that it has a length
        image, label = dataset[number]
        if number == 0 and isinstance(image, Image.Image):
            grey = image.mode in GREY_MODES
        pixels = _pixels(image, grey, f"Image {number}")
        if images and pixels.shape != images[0].shape:
            raise DataError(
                f"Image {number} has the shape {tuple(pixels.shape)}, image 0 {tuple(images[0].shape)}: "
                "resize or crop all images to one size."
            )
        images.append(pixels)
        labels.append(_label(label, number))
    if not images:
        raise DataError("The data set is empty: give one with images.")
    return torch.stack(images), torch.tensor(labels)


def _pixels(image: Any, grey: bool, name: str) -> Tensor:
    if isinstance(image, Image.Image):
        return cast(Tensor, pil_to_tensor(image.convert("L" if grey else "RGB")))
    if not isinstance(image, Tensor) or image.ndim != 3:
        what = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"{name} is {what}, not a PIL image or a tensor (C, H, W): add a transform to the data set.")
    if image.dtype == torch.uint8:
        return image.cpu()
    if not image.is_floating_point() or not (image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"{name} holds {image.dtype} from {image.min():g} to {image.max():g}, not uint8 or floats in [0, 1]: "
            "give pixels that are not normalised."
        )
    return (image.cpu() * 255).round().to(torch.uint8)


def _label(label: Any, number: int) -> int:
    with suppress(TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        if int(label) == label:
            return int(label)
    raise DataError(f"The label of image {number} is {label!r}, not an integer: number the classes from 0.")
