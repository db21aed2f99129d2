"""What the evaluations of section 5.3 share: results over many small tasks in place of those over many networks."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import lightning as L
from torch import Tensor, nn

from rtp.callbacks.progress import retraining_bar
from rtp.callbacks.retraining import RetrainingEvaluation
from rtp.datamodules import ImageDataModule
from rtp.evaluation.results import Result
from rtp.evaluation.small_tasks import SmallTask, accuracies
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import TrainingProtocol
from rtp.utils.distributed import all_gather, interleave, shard_indices

Advance = Callable[[], object]
TestedSplit = Literal["val", "test"]


@dataclass(frozen=True)
class SmallTasks:
    """Tasks that are made when they are asked for.

    Attributes:
        task: Makes task number n.
        count: Number of tasks.
        at_once: Tasks whose images, and where networks are trained together weights, are in memory at once.
    """

    task: Callable[[int], SmallTask]
    count: int
    at_once: int


class SynthesisEvaluation(RetrainingEvaluation):
    """Takes the place of `RetrainingEvaluation`, with its settings, for a module that synthesises classifiers.

    `networks` and `validation_networks` are the numbers of test tasks, each with a network of its own; means and
    standard deviations are those over tasks. Curves, `test.json` and the table are as usual.

    Args:
        settings: The evaluation whose place is taken.
    """

    def __init__(self, settings: RetrainingEvaluation) -> None:
        super().__init__(
            settings.networks,
            settings.validation_networks,
            settings.protocol,
            settings.architectures,
            settings.baselines,
            settings.real_protocol.epochs,
            settings.seed,
            settings.vmapped,
            settings.augmentation,
            settings.real_protocol.batch_size,
            settings.real_protocol.learning_rate,
        )

    @classmethod
    def in_place_of_retraining(cls, trainer: L.Trainer) -> Sequence[Self]:
        """What a module's `configure_callbacks` returns: Lightning lets it replace its base class among the callbacks.

        Args:
            trainer: The module's; without a `RetrainingEvaluation` there is nothing to replace.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        return [cls(callback) for callback in callbacks if isinstance(callback, RetrainingEvaluation)]

    @abstractmethod
    def evaluated(
        self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit, advance: Advance
    ) -> Iterator[Result]:
        """Train and measure the networks of all tasks.

        Args:
            module: The module with the memory.
            data: Set up for the split.
            split: "val" for `validation_networks` tasks of one kind, "test" for everything.
            advance: To be called after each epoch of each network.
        """

    @abstractmethod
    def epochs(self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit) -> int:
        """Epochs of all networks that `evaluated` trains, for the progress bar."""

    def tested_architectures(self, module: ClassifierSynthesis, split: TestedSplit) -> list[NetworkFactory]:
        """The networks to train: in validation the module's own alone."""
        return [module.network] if split == "val" or not self.architectures else self.architectures

    def measured(
        self,
        tasks: SmallTasks,
        network: Callable[[], nn.Module],
        protocol: TrainingProtocol,
        augmentation: Augmentation | None,
        advance: Advance,
    ) -> tuple[float, ...]:
        """Accuracies on tasks, which the processes share out: number i is that of process i mod N.

        Args:
            tasks: What to train and measure.
            network: Makes a network.
            protocol: How it is trained.
            augmentation: What is done to its training images.
            advance: To be called after each epoch of each network.
        """
        mine = (tasks.task(number) for number in shard_indices(tasks.count))
        found = accuracies(mine, network, protocol, augmentation, self.vmapped, tasks.at_once, advance)
        return interleave(all_gather(found))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train and measure the networks of the validation tasks."""
        self._evaluate(trainer, pl_module, "val")

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train and measure the networks of the test tasks."""
        self._evaluate(trainer, pl_module, "test")

    def _evaluate(self, trainer: L.Trainer, pl_module: L.LightningModule, split: TestedSplit) -> None:
        assert isinstance(pl_module, ClassifierSynthesis)  # which put this callback here
        data = pl_module.data()
        with retraining_bar(trainer, self.epochs(pl_module, data, split)) as advance:
            self.results = list(self.evaluated(pl_module, data, split, advance))

    def _conclude(self, trainer: L.Trainer) -> None:
        """Nothing is left to do once the batches have gone by: the images of a task are not a batch."""


def members_of_classes(labels: Tensor, num_classes: int) -> list[Tensor]:
    """The indices of each class's images, (n_c,) each, on the labels' device."""
    return [(labels == label).nonzero().flatten() for label in range(num_classes)]
