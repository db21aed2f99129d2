"""The base of all data modules: split, normalisation, batches."""

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from rtp.datamodules.inspection import check_labelled_images, check_trainable, warn_of_odd_images
from rtp.datamodules.normalisation import (
    Normalisation,
    check_regularisation,
    fit_standardisation,
    load_or_fit_zca,
    normalised,
)
from rtp.datamodules.sampling import Batches, OuterBatches, Split, stratified_split
from rtp.utils.checks import check_at_least, check_in
from rtp.utils.files import cache_dir

Value = TypeVar("Value")
LabelledImages = tuple[Tensor, Tensor]


class ImageDataModule(LightningDataModule, ABC):
    """Labelled images of one size, one tensor per split on the training device.

    A concrete class defines `class_names` and `image_shape` (class attributes or properties), `load` and, if files
    must be downloaded, `prepare_data`. The normalisation is fitted on the training images without the validation
    images. Only `setup("test")` reads the test set.

    Args:
        root: Folder of the data sets; by default `$RTP_DATA_DIR`, or else `./data`.
        validation_fraction: Part of the training images of each class kept for validation, in (0, 1).
        real_images_per_class: Real images of each sampled class in an outer step, at least 1 (64: the authors' code).
        classes_per_step: Classes sampled in an outer step (Y' of algorithm 1), null for all of them.
        zca: Regularisation of ZCA, positive (the authors: 0.1 for CIFAR, 100 for SVHN); null standardises each channel.
        seed: Seed of the split and of the outer batches, at least 0.
        batch_size: Images in one evaluation batch, at least 1.

    Attributes:
        name: Short lower-case name, e.g. `cifar10`; by default derived from the class name.
        class_groups: Class sets that take turns in outer steps; None (initially) for one set of all classes.

    Raises:
        UserError: If an argument is out of its range.
    """

    name: str

    def __init__(
        self,
        root: str | None = None,
        validation_fraction: float = 0.1,
        real_images_per_class: int = 64,
        classes_per_step: int | None = None,
        zca: float | None = None,
        seed: int = 0,
        batch_size: int = 1000,
    ) -> None:
        super().__init__()
        check_in("validation_fraction", validation_fraction, "(0, 1)")
        check_regularisation(zca)
        check_at_least("real_images_per_class", real_images_per_class, 1)
        check_at_least("classes_per_step", classes_per_step, 1)
        check_at_least("seed", seed, 0)
        check_at_least("batch_size", batch_size, 1)
        # FashionMNIST -> fashion_mnist, CIFAR10 -> cifar10
        self.name = self.name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        self.root = root
        self.validation_fraction = validation_fraction
        self.real_images_per_class = real_images_per_class
        self.classes_per_step = classes_per_step
        self.zca = zca
        self.seed = seed
        self.batch_size = batch_size
        self.class_groups: Sequence[Sequence[int]] | None = None
        self._normalisation: Normalisation | None = None
        # all training images as bytes, their labels, and the indices of those that are not held out for validation
        self._training: tuple[Tensor, Tensor, Tensor] | None = None
        # held-out images as bytes, and their labels
        self._validation: LabelledImages | None = None
        self._test: LabelledImages | None = None

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Channels (1 or 3), height and width."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @abstractmethod
    def load(self, split: Split) -> LabelledImages:
        """Read an official split: images (n, C, H, W) uint8 and labels (n,) int64 in 0..num_classes-1, on the CPU.

        Raises:
            DataError: If files are missing or damaged.
        """

    def load_validation(self) -> LabelledImages | None:
        """Read an official validation split, as `load` reads the others; None, the default, splits the training set."""
        return None

    @property
    def data_root(self) -> Path:
        """The folder of the data sets: `root`, or `$RTP_DATA_DIR`, or `./data`."""
        return Path(self.root or os.environ.get("RTP_DATA_DIR") or "data").expanduser()

    def setup(self, stage: str | None = None) -> None:
        """Read, split and normalise the training set, once; for the stage `"test"` also the test set.

        Raises:
            DataError: If the data are missing, damaged or unfit for a stratified split.
        """
        if self._training is None:
            images, labels = self._checked("train", *self.load("train"))
            validation = self.load_validation()
            if validation is not None:
                part, validation = torch.arange(len(labels)), self._checked("validation", *validation)
            else:
                part, held_out = stratified_split(labels, self.validation_fraction, self.seed)
                validation = images[held_out], labels[held_out]
            warn_of_odd_images(images, labels, part, self.class_names, self.name)
            if self._normalisation is None and self.zca is not None:
                self._normalisation = load_or_fit_zca(images[part], self.zca, cache_dir())
            elif self._normalisation is None:
                self._normalisation = fit_standardisation(images, part)
            self._training, self._validation = (images, labels, part), validation
        if stage == "test" and self._test is None:
            self._test = self._checked("test", *self.load("test"))

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation fitted on the training images, or one set before `setup`."""
        return self._ready(self._normalisation, "fit")

    @normalisation.setter
    def normalisation(self, normalisation: Normalisation) -> None:
        if self._training is not None:
            raise RuntimeError(f"{self.name} is normalised already: set another normalisation before setup().")
        self._normalisation = normalisation

    @cached_property
    def train_set(self) -> LabelledImages:
        """Normalised training images (n, C, H, W) float32 and labels (n,) int64, on the training device.

        They take four times the memory of the bytes, as the other sets do, and are kept from their first use on. Outer
        batches and those of evaluation are normalised one by one instead, but whitened once on a CPU.
        """
        images, labels, part = self._ready(self._training, "fit")
        return self._prepared((images[part], labels[part]))

    @cached_property
    def validation_set(self) -> LabelledImages:
        """Normalised validation images and labels, as `train_set`."""
        return self._prepared(self._ready(self._validation, "fit"))

    @cached_property
    def test_set(self) -> LabelledImages:
        """Normalised test images and labels, as `train_set`; only after `setup("test")`."""
        return self._prepared(self._ready(self._test, "test"))

    def images_of(self, label: int, count: int) -> Tensor:
        """Normalised training images (count, C, H, W) float32 of one class, on the training device.

        A random choice that depends only on `seed` and the class; images of a class of fewer are repeated.
        """
        images, labels, part = self._ready(self._training, "fit")
        members = part[labels[part] == label].numpy()
        order = np.random.default_rng([self.seed, label]).permutation(members)
        chosen = torch.from_numpy(np.resize(order, count))
        return self.preprocess(images[chosen].to(self._device))

    @property
    def num_floats(self) -> int:
        """Floats of the training and validation images together."""
        images = len(self._ready(self._training, "fit")[2]) + len(self._ready(self._validation, "fit")[1])
        return images * math.prod(self.image_shape)

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalise uint8 images (n, C, H, W) to the float32 input of networks, on their device."""
        return normalised(images, self.normalisation)

    def to_pixels(self, images: Tensor) -> Tensor:
        """Undo the normalisation for display: floats (n, C, H, W) to float32 pixels in [0, 1]."""
        return self.normalisation.invert(images.float()).clamp(0, 1)

    def train_dataloader(self) -> OuterBatches:
        """One class-balanced batch of real images for each of `trainer.max_steps` outer steps; endless without a limit.

        A resumed run starts at its next batch; each process draws its own batches.
        """
        length, start, rank = None, 0, 0
        if self.trainer is not None:
            if self.trainer.max_steps > 0:
                length = self.trainer.max_steps * self.trainer.accumulate_grad_batches
            start, rank = self.trainer.fit_loop.total_batch_idx + 1, self.trainer.global_rank
        outer_batches = partial(
            OuterBatches,
            images_per_class=self.real_images_per_class,
            classes_per_step=self.classes_per_step,
            seed=self.seed,
            length=length,
            start=start,
            rank=rank,
            class_groups=self.class_groups,
        )
        if self._kept_normalised:
            return outer_batches(*self.train_set)
        images, labels, part = self._ready(self._training, "fit")
        images, labels = images.to(self._device), labels.to(self._device)
        return outer_batches(images, labels, subset=part, prepare=self.preprocess)

    def val_dataloader(self) -> Batches[LabelledImages]:
        """The whole validation set in order in each process, `batch_size` images per batch."""
        return self._in_order(self.validation_set if self._kept_normalised else self._ready(self._validation, "fit"))

    def test_dataloader(self) -> Batches[LabelledImages]:
        """The test set in order, `batch_size` images per batch."""
        return self._in_order(self.test_set if self._kept_normalised else self._ready(self._test, "test"))

    def predict_dataloader(self) -> Batches[Tensor]:
        """One batch with the labels 0..num_classes-1: prediction recalls the images of every class."""
        return Batches([torch.arange(self.num_classes)])

    def _checked(self, split: str, images: Tensor, labels: Tensor) -> LabelledImages:
        check_labelled_images(f"The {split} split of {self.name}", images, labels, self.image_shape, self.class_names)
        if split == "train":
            check_trainable(self.name, images, labels, self.class_names)
        return images, labels

    @property
    def _kept_normalised(self) -> bool:
        # whitening is a matrix product an image: on a CPU done once; a GPU has little memory and much arithmetic
        return self.zca is not None and self._device.type == "cpu"

    def _prepared(self, labelled: LabelledImages) -> LabelledImages:
        """On the training device, and normalised there if they are still bytes."""
        images, labels = (tensor.to(self._device) for tensor in labelled)
        return self.preprocess(images) if images.dtype == torch.uint8 else images, labels

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _in_order(self, labelled: LabelledImages) -> Batches[LabelledImages]:
        images, labels = (torch.split(tensor, self.batch_size) for tensor in labelled)
        return Batches(list(zip(images, labels, strict=True)), self._prepared)

    def _ready(self, value: Value | None, stage: str) -> Value:
        if value is None:
            raise RuntimeError(f"{self.name} has no data yet: call prepare_data() and setup({stage!r}) first.")
        return value


def one_line(error: BaseException) -> str:
    """Another library's error message on one line, for use inside a DataError."""
    return " ".join(str(error).split()) or type(error).__name__
