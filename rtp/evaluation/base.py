"""The settings of an evaluation, and what every evaluator offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.evaluation.results import Result
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.base import Distillation
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import TrainingProtocol
from rtp.utils.checks import check_at_least

EvaluatedSplit = Literal["val", "test"]
OnEpoch = Callable[[], object]
Progress = Callable[[int], AbstractContextManager[OnEpoch]]
"""Takes the number of epochs of all networks; gives a function to call after each of them."""

Module = TypeVar("Module", bound=Distillation)

PIXEL_BYTES, FLOAT_BYTES = 1, 4  # a pixel's channel of a real image (uint8), a weight or a mean (float32)


def no_progress(epochs: int) -> AbstractContextManager[OnEpoch]:
    """Show nothing."""
    return nullcontext(lambda: None)


@dataclass(frozen=True)
class EvaluationSettings:
    """How networks are trained and what they are compared with.

    Args:
        networks: Networks of each architecture in `rtp test`; the paper uses 20 (5.1). For classifier synthesis the
            number of evaluation tasks, each with a network of its own.
        validation_networks: Networks in validation, which are of the module's own architecture.
        protocol: How a network is trained.
        architectures: Networks that `rtp test` trains (table 6 has three); by default the module's own alone.
        baselines: Whether `rtp test` also trains on random and on herded real images of the same storage, on class
            means or k-means centres, and on all real images of the training split.
        real_epochs: Epochs on all real images, each with many more steps than one on recalled images.
        seed: Seed of the networks and minibatches.
        vmapped: Whether the networks of one architecture are trained in one vmapped loop, with the same result to
            rounding; null takes what is faster: one loop for 8 networks or more with at most 32 images of 8x8 pixels,
            or as many pixels, in a minibatch. On a GPU, where that was not measured, true may pay for more.
        augmentation: Applied to the images of a minibatch, each with a draw of its own; by default the module's.
        real_batch_size: Images in a minibatch at most when training on all real images; null takes that of
            `protocol`, which is large for the few hundred images of an evaluation task.
        real_learning_rate: When training on all real images; null takes that of `protocol`.

    Raises:
        UserError: If a number is below 1, or `real_learning_rate` is not positive.
    """

    networks: int = 20
    validation_networks: int = 3
    protocol: TrainingProtocol = TrainingProtocol()  # noqa: RUF009  # frozen
    architectures: list[NetworkFactory] | None = None
    baselines: bool = False
    real_epochs: int = 30
    seed: int = 0
    vmapped: bool | None = None
    augmentation: Augmentation | None = None
    real_batch_size: int | None = None
    real_learning_rate: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("networks", "validation_networks", "real_epochs", "real_batch_size"):
            check_at_least(name, getattr(self, name), 1)
        _ = self.real_protocol  # checks its own numbers

    @property
    def real_protocol(self) -> TrainingProtocol:
        """How a network is trained on all real images."""
        return replace(
            self.protocol,
            epochs=self.real_epochs,
            batch_size=self.real_batch_size or self.protocol.batch_size,
            learning_rate=self.protocol.learning_rate if self.real_learning_rate is None else self.real_learning_rate,
        )


@dataclass(frozen=True)
class TrainingSource:
    """Where training images come from, and what storing them costs.

    Attributes:
        name: As in tables and `test.json`.
        protocol: How networks are trained on them.
        storage_floats: Numbers to store.
        storage_bytes: Bytes that they take.
        budget_floats: Numbers in the unit of equation 4: those of 32 bits that take as much storage, or real pixels;
            None for `storage_floats`.
    """

    name: str
    protocol: TrainingProtocol
    storage_floats: int
    storage_bytes: int
    budget_floats: int | None = field(default=None, kw_only=True)

    def result(
        self,
        data: ImageDataModule,
        architecture: str,
        accuracies: tuple[float, ...],
        images: int,
        seconds: float | None,
        prefix: str = "",
        ways: int | None = None,
    ) -> Result:
        """The result of networks of a class `architecture` that were trained on `images` of these images each.

        Args:
            data: Its storage is 100 %.
            architecture: The networks' class.
            accuracies: One a network.
            images: Training images of each network, of all its classes.
            seconds: Of training one network, if measured.
            prefix: Put before the name.
            ways: Classes of each network; None for all classes of `data`.
        """
        budget_floats = self.storage_floats if self.budget_floats is None else self.budget_floats
        return Result(
            training_set=f"{prefix}{self.name}",
            architecture=architecture,
            accuracies=accuracies,
            epochs=self.protocol.epochs,
            images=images,
            storage_floats=self.storage_floats,
            storage_bytes=self.storage_bytes,
            storage_percent=100 * budget_floats / data.num_floats,
            images_per_class=images / (ways or data.num_classes),
            bits_per_class=8 * self.storage_bytes / data.num_classes,
            seconds=seconds,
        )


class Evaluator(ABC, Generic[Module]):
    """Trains fresh networks on what a module's memory recalls, and measures them.

    It reads the splits from the data module, and draws its random numbers from streams of its own: training continues
    as if there had been no evaluation. Several processes share the networks out: process i of N trains and measures
    networks i, i + N, ... All return the results of a single process (to rounding, where networks are vmapped).
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings

    @abstractmethod
    def results(
        self, module: Module, data: ImageDataModule, split: EvaluatedSplit, progress: Progress = no_progress
    ) -> list[Result]:
        """Train and measure.

        Args:
            module: The module with the memory.
            data: Set up for the split.
            split: "val" for `validation_networks` networks of the module's own architecture on its memory, "test" for
                everything.
            progress: Shows how far the training is.

        Returns:
            At least one result, that of the memory first.
        """

    def images(self, data: ImageDataModule, split: EvaluatedSplit) -> LabelledImages:
        """The images to measure on."""
        return data.validation_set if split == "val" else data.test_set

    def num_networks(self, split: EvaluatedSplit) -> int:
        """Networks of each architecture."""
        return self.settings.validation_networks if split == "val" else self.settings.networks

    def architectures(self, module: Module, split: EvaluatedSplit) -> list[NetworkFactory]:
        """The networks to train."""
        return [module.network] if split == "val" or not self.settings.architectures else self.settings.architectures

    def augmentation(self, module: Module) -> Augmentation | None:
        """The augmentation of training images."""
        return self.settings.augmentation or module.augmentation
