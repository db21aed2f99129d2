"""Evaluation tasks of classifier synthesis (section 5.3): each has a few classes and a network of its own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean
from time import perf_counter
from typing import TypeVar

from torch import Tensor, nn

from rtp.datamodules.base import ImageDataModule
from rtp.evaluation.base import Evaluator, OnEpoch, TrainingSource
from rtp.evaluation.results import Result
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import Trainee, TrainingProtocol, accuracy, isolated_rng, train_networks
from rtp.utils.distributed import all_gather, interleave, shard_indices


@dataclass(frozen=True)
class EvaluationTask:
    """A task with k classes.

    Attributes:
        images: (m, C, H, W) training images, preprocessed.
        labels: (m,) their labels in 0..k-1.
        test_images: (n, C, H, W) images to measure on.
        test_labels: (n,) their labels in 0..k-1.
        seed: Seed of the task's network and of everything that is drawn while it is trained.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    seed: int


@dataclass(frozen=True)
class EvaluationTasks:
    """Tasks that are made on request.

    Attributes:
        name: As in the results, such as "5-way".
        ways: Classes of a task, k.
        make: Makes task number n.
        count: Number of tasks.
        chunk_size: Tasks whose images and, where networks are vmapped, weights are in memory at the same time.
    """

    name: str
    ways: int
    make: Callable[[int], EvaluationTask]
    count: int
    chunk_size: int


Synthesis = TypeVar("Synthesis", bound=ClassifierSynthesis)


class SynthesisEvaluator(Evaluator[Synthesis]):
    """Trains a network on each of many evaluation tasks; means and standard deviations are over tasks."""

    def result(
        self,
        module: Synthesis,
        data: ImageDataModule,
        source: TrainingSource,
        architecture: NetworkFactory,
        tasks: EvaluationTasks,
        on_epoch: OnEpoch,
    ) -> Result:
        """Train and measure networks of one architecture on the tasks, which the processes share out.

        Args:
            module: The module with the memory.
            data: The data set.
            source: Where the tasks' training images come from.
            architecture: The networks to train.
            tasks: What to train and measure on.
            on_epoch: Called after each epoch of each network.
        """
        start = perf_counter()
        found = task_accuracies(
            (tasks.make(number) for number in shard_indices(tasks.count)),
            partial(module.fresh_network, architecture, tasks.ways),
            source.protocol,
            self.augmentation(module),
            self.settings.vmapped,
            tasks.chunk_size,
            on_epoch,
        )
        seconds = fmean(all_gather((perf_counter() - start) / max(1, len(found))))
        accuracies, images = interleave(all_gather(found)), len(tasks.make(0).labels)
        name = module.architecture_name(architecture)
        return source.result(data, name, accuracies, images, seconds, f"{tasks.name} ", tasks.ways)


def task_accuracies(
    tasks: Iterable[EvaluationTask],
    network: Callable[[], nn.Module],
    protocol: TrainingProtocol,
    augmentation: Augmentation | None = None,
    vmapped: bool | None = None,
    chunk_size: int = 1,
    on_epoch: OnEpoch = lambda: None,
) -> list[float]:
    """Train a network on each task and measure it on the task's test images.

    Args:
        tasks: Requested one after the other, so that only a chunk of them is in memory.
        network: Makes a network of k outputs, drawing its weights from the global generators.
        protocol: How networks are trained.
        augmentation: Applied to each training image with a parameter of its own.
        vmapped: Whether a chunk's networks are trained in one loop, see `train_networks`.
        chunk_size: Tasks in a chunk, at least 1.
        on_epoch: Called after each epoch of each network.

    Returns:
        Fraction of test images classified correctly, in the order of the tasks.
    """
    accuracies, rest = [], iter(tasks)
    while chunk := list(islice(rest, chunk_size)):
        trainees = []
        for task in chunk:
            with isolated_rng(task.seed):
                trainees.append(Trainee(network(), task.images, task.labels, task.seed))
        trained = train_networks(trainees, protocol, augmentation, vmapped, on_epoch)
        accuracies += [accuracy(n, task.test_images, task.test_labels) for n, task in zip(trained, chunk, strict=True)]
    return accuracies
