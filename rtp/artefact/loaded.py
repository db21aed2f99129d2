"""`rtp.load`: a distilled memory in any PyTorch program."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rtp.artefact import files, hub, tensors
from rtp.artefact.card import Storage, card, summary
from rtp.artefact.layout import Accuracy, Description, Protocol
from rtp.artefact.recalled import RecalledImages, fill_parquet
from rtp.datamodules.arrays import images_of_shape, type_and_shape
from rtp.datamodules.normalisation import ZCA, Normalisation, Standardisation, normalised
from rtp.errors import UserError
from rtp.modules.memories.base import Memory
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.memories.number_formats import StoredType
from rtp.modules.memories.tasks import TaskMemories
from rtp.utils.pictures import within_range


@dataclass(frozen=True, eq=False)
class DistilledMemory:
    """A memory to train networks from: recalled images, and the preprocessing of real ones.

    Train a network on `dataset()`, then give it `preprocess(raw)`. Everything is on the CPU.

    Attributes:
        description: Class names, sizes, evaluation protocol, measured accuracies, configuration, versions.
        memory: The bases and addressing matrices, or images, as a module; float32, without gradients. Where queries are
            images, it includes the feature network.
        normalisation: The map from pixels to the networks' input, and its inverse.
    """

    description: Description
    memory: Memory
    normalisation: Standardisation | ZCA

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self.description.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.description.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a recalled image."""
        return self.description.image_shape

    @property
    def images_per_class(self) -> int:
        """Number r of images recalled for each class, or by each image; more than the storage could hold as pixels."""
        return self.description.num_slots

    @property
    def storage_floats(self) -> int:
        """Stored numbers of any type: the left-hand side of equation 4."""
        return self.memory.storage_floats

    @property
    def storage_bytes(self) -> int:
        """Bytes of these numbers as stored, with the scales of integers; without the normalisation."""
        return tensors.num_bytes(tensors.memory_specs(self.description, len(self.memory.bases)))

    @property
    def bits_per_class(self) -> float:
        """`storage_bytes` in bits, over the classes."""
        return 8 * self.storage_bytes / self.num_classes

    @property
    def normalisation_bytes(self) -> int:
        """Bytes of the normalisation in the file; for ZCA 4 (C H W)^2 and a little more."""
        return tensors.num_bytes(tensors.normalisation_specs(self.description))

    @property
    def protocol(self) -> Protocol:
        """How networks were trained on the recalled images when they were evaluated."""
        return self.description.protocol

    @property
    def accuracies(self) -> tuple[Accuracy, ...]:
        """Accuracies of such networks, on the memory in the format that it was trained in."""
        return self.description.accuracies

    @property
    def tasks(self) -> tuple[tuple[int, ...], ...]:
        """The labels of each task that has a memory of its own, see `task`; none in the file of one memory."""
        return self.description.tasks or ()

    @property
    def rtp_version(self) -> str:
        """Version of rtp that wrote the file."""
        return self.description.rtp_version

    def __repr__(self) -> str:
        """Five lines: data and classes, memory and bytes, normalisation, protocol, accuracies."""
        return summary(self.description, type(self.memory).__name__, self._storage)

    def recall(self, labels: Tensor | None = None, *, images: Any = None) -> Tensor:
        """Recall all images of some classes or, from a memory that is addressed by images, what some images recall.

        Args:
            labels: (n,) integers in [0, num_classes).
            images: As `preprocess` takes them; they need not be of a known class.

        Returns:
            (n, r, C, H, W) float32, as networks are trained on them: normalised, without bounds.

        Raises:
            UserError: If a label is out of range, the images have another type or shape, or the memory is addressed by
                the other argument.
        """
        if isinstance(self.memory, ImageAddressedMemory):
            if images is None or labels is not None:
                raise UserError("this memory is addressed by images: recall(images=...), raw ones as preprocess takes")
            with torch.no_grad():
                queries = self.preprocess(images).cpu().view(-1, *self.image_shape)
                recalled = self.memory.recall_images(queries)
            if not recalled.isfinite().all():
                reason = "the memory's numbers are so large that recalled images are not finite"
                raise UserError(f"{reason}: use another file")
            return recalled
        if labels is None or images is not None:
            raise UserError("this memory is addressed by labels: recall(labels)")
        if labels.dim() != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise UserError(f"labels are {type_and_shape(labels)}, not (n,) integers")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise UserError(f"labels lie between {labels.min()} and {labels.max()}, not 0 and {self.num_classes - 1}")
        return self.memory.recall(labels.long().cpu())

    def dataset(self) -> RecalledImages:
        """All recalled images with their labels, class by class: the training set.

        Returns:
            A data set of `num_classes * images_per_class` pairs of an image, (C, H, W) float32, and its label.

        Raises:
            UserError: If the memory is addressed by images: give them to `recall`.
        """
        classes = torch.arange(self.num_classes)
        return RecalledImages(self.recall(classes).flatten(0, 1), classes.repeat_interleave(self.images_per_class))

    def preprocess(self, images: Any) -> Tensor:
        """Preprocess real images for networks that were trained on recalled ones.

        Args:
            images: What `rtp.distill` takes, one image or several: a PIL image, tensors (n, C, H, W) or arrays
                (n, H, W, C), uint8 or floats in [0, 1].

        Returns:
            (n, C, H, W) float32, or (C, H, W) for one image, on the device of `images`.

        Raises:
            UserError: If the images have another type or shape.
        """
        pixels, is_one = images_of_shape(images, self.image_shape)
        result = normalised(pixels, self.normalisation)
        return result[0] if is_one else result

    def to_pixels(self, images: Tensor) -> Tensor:
        """Map recalled or preprocessed images back to pixels, for display.

        Args:
            images: (n, C, H, W) floats, or (C, H, W).

        Returns:
            The same shape, float32 in [0, 1]; the contrast of images that leave this range is reduced. After ZCA all
            images have the mean brightness and contrast of the data set.

        Raises:
            UserError: If the images have another shape.
        """
        if not images.is_floating_point() or images.dim() not in (3, 4) or images.shape[-3:] != self.image_shape:
            shape = ", ".join(map(str, self.image_shape))
            raise UserError(f"images are {type_and_shape(images)}, not (n, {shape}) floats")
        pixels = within_range(self.normalisation.invert(images.float().view(-1, *self.image_shape)))
        return pixels.view_as(images)

    def task(self, number: int) -> "DistilledMemory":
        """The memory of one task alone, with labels 0..k-1: equation 2 with the task's own bases and matrices.

        It recalls what `CompressThenRecall.recalled` did in the checkpoint, bit for bit. `preprocess` normalises: real
        images are to be transformed as those of the task before, see `description.stream`.

        Args:
            number: Of the task, from 0 to len(tasks) - 1.

        Raises:
            UserError: If the file has no tasks, or none of this number.
        """
        description = self.description.of_task(number)
        assert isinstance(self.memory, TaskMemories)  # or else there is no task
        numbers = self.memory.of_task(number).to_tensors()
        return replace(self, description=description, memory=tensors.build_memory(description, numbers))

    def stored_as(self, dtype: StoredType) -> "DistilledMemory":
        """The memory as a file of this format would hold it: rounded, in float32 again.

        Raises:
            UserError: If a number is too large for float16.
        """
        description = replace(self.description, stored_as=dtype)
        stored = tensors.stored_tensors(self.memory.to_tensors(), dtype)
        return replace(self, description=description, memory=tensors.build_memory(description, stored))

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the file that `rtp.load` opens: a safetensors file with the numbers in `description.stored_as`.

        Raises:
            UserError: If there is a file already and no `overwrite`, or it cannot be written.
        """
        stored = tensors.stored_tensors(self.memory.to_tensors(), self.description.stored_as)
        stored |= tensors.stored_normalisation(self.normalisation)
        files.write(Path(path), self.description, stored, overwrite)

    @property
    def _storage(self) -> Storage:
        sizes = self.storage_floats, self.storage_bytes, self.normalisation_bytes
        return Storage(tuple(self.memory.bases.shape), *sizes)

    def push_to_hub(
        self, repository: str, *, licence: str | None = None, private: bool = False, token: Any = None
    ) -> str:
        """Upload the memory to the Hugging Face Hub: its file, a card, and the recalled images as parquet.

        `rtp.load("hf://user/name")` opens the memory, `datasets.load_dataset("user/name")` the recalled images.

        Args:
            repository: "user/name" of a data-set repository, which is created if it is missing.
            licence: The Hub's name for the licence of the source data; by default as the makers of a known data set
                state it, or else "unknown".
            private: Whether a new repository is private.
            token: As `huggingface_hub` takes it; by default that of `hf auth login`.

        Returns:
            The address of the upload's commit.

        Raises:
            UserError: If the libraries of `pip install rtp[hf]` are missing, the memory is addressed by images, or the
                Hub refuses.
        """
        recalled = self.dataset()
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / hub.IMAGES).parent.mkdir()
            self.save(folder / hub.FILE)
            with (folder / hub.IMAGES).open("wb") as file:
                fill_parquet(self.to_pixels(recalled.images), recalled.labels, self.class_names, file)
            text = card(self.description, self._storage, repository, licence)
            (folder / hub.CARD).write_text(text, encoding="utf-8")
            message = f"Memory of {self.description.dataset}, rtp {self.rtp_version}"
            return hub.upload(folder, repository, message, private, token)


def load(path: str | Path) -> DistilledMemory:
    """Open a `.safetensors` file that `rtp export` wrote, or a memory that somebody shares. Nothing in it can run.

    Args:
        path: A file, whoever made it; a name of `rtp list memories`; or "hf://user/name" on the Hugging Face Hub, with
            "@revision" if wanted.

    Raises:
        DataError: If the file is missing, damaged, not from rtp or of another version; a `UserError`, in one line.
        UserError: If it is a bare name of no file and no memory, or the Hub has no such memory.
    """
    path = hub.memory_path(path)
    description, stored = files.read(path)
    with files.naming(path):
        memory = tensors.build_memory(description, stored)
        return DistilledMemory(description, memory, tensors.build_normalisation(description, stored))


def assemble(description: Description, numbers: dict[str, Tensor], normalisation: Normalisation) -> DistilledMemory:
    """Assemble a memory from its parts, as it would come back from a file.

    Args:
        description: Its description.
        numbers: The memory's float32 tensors, by their names in a file; they are rounded to `stored_as`.
        normalisation: Standardisation or ZCA.

    Raises:
        UserError: If the normalisation is another.
        DataError: If a tensor has another shape than described, or values that no image can be recalled from.
    """
    scaled = tensors.stored_normalisation(normalisation)
    unrounded = replace(description, stored_as="float32")
    wanted = tensors.memory_specs(unrounded, len(numbers.get("bases", ())))
    tensors.check_specs(wanted, tensors.specs_of(numbers))
    tensors.build_memory(unrounded, numbers)  # refuses what no image can be recalled from
    memory = tensors.build_memory(description, tensors.stored_tensors(numbers, description.stored_as))
    return DistilledMemory(description, memory, tensors.build_normalisation(description, scaled))
