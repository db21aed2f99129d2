"""Testing classifiers for classes that were never seen together (section 5.3.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rtp.datamodules import ImageDataModule
from rtp.datamodules.class_tasks import ClassTasks, draw_across_tasks
from rtp.evaluation.base import Advance, SmallTasks, SynthesisEvaluation, TestedSplit, members_of_classes
from rtp.evaluation.results import Result
from rtp.evaluation.small_tasks import SmallTask
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.distillation.task_distillation import TaskDistillation
from rtp.modules.networks.training import TrainingProtocol
from rtp.utils.seeds import derived_seed

PIXEL_BYTES = 1  # of a pixel's channel of a real image (uint8)


@dataclass(frozen=True)
class Source:
    """Where the training images of test tasks come from.

    Attributes:
        name: As in the results.
        images: (n, C, H, W), of all classes.
        labels: (n,) their labels in the data set.
        protocol: How networks are trained on them.
        tasks: Test tasks to measure.
        storage_floats: Numbers that have to be stored.
        storage_bytes: Bytes that they take.
    """

    name: str
    images: Tensor
    labels: Tensor
    protocol: TrainingProtocol
    tasks: int
    storage_floats: int
    storage_bytes: int


class ExtrapolationEvaluation(SynthesisEvaluation):
    """Trains networks for random test tasks across the learned ones on images recalled by label.

    A test task takes one class each of k random tasks, drawn anew for each test task, so that two of them may share
    classes; the paper says no more than their number. Its network is trained on what the k memories recall and
    measured on all real images of these classes. With `baselines`, the upper bound: networks trained on all real
    training images of the classes, for `real_epochs` in minibatches of `real_batch_size`.

    Attributes:
        results: "k-way recalled" and, with baselines, "k-way all real", for each k and architecture.
    """

    def evaluated(
        self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit, advance: Advance
    ) -> Iterator[Result]:
        """See `SynthesisEvaluation.evaluated`."""
        assert isinstance(module, TaskDistillation)  # which put this callback here
        measured_on = data.validation_set if split == "val" else data.test_set
        all_ways, sources = module.extrapolation.ways, self._sources(module, data, split)
        for ways in all_ways[:1] if split == "val" else all_ways:
            for row, source in enumerate(sources):
                for column, architecture in enumerate(self.tested_architectures(module, split)):
                    tasks = _TasksAcross(module.memory.tasks, ways, source, measured_on, self.seed, (row, column))
                    yield Result(
                        f"{ways}-way {source.name}",
                        module.architecture_name(architecture),
                        self.measured(
                            SmallTasks(tasks, source.tasks, module.extrapolation.networks_at_once),
                            partial(module.fresh_classifier, architecture, ways),
                            source.protocol,
                            self._augmentation(module),
                            advance,
                        ),
                        source.protocol.epochs,
                        len(tasks(0).labels),
                        source.storage_floats,
                        source.storage_bytes,
                        100 * source.storage_floats / data.num_floats,
                    )

    def epochs(self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit) -> int:
        """See `SynthesisEvaluation.epochs`."""
        assert isinstance(module, TaskDistillation)
        rows = 1 if split == "val" else len(module.extrapolation.ways) * len(self.tested_architectures(module, split))
        return rows * sum(source.tasks * source.protocol.epochs for source in self._sources(module, data, split))

    def _sources(self, module: TaskDistillation, data: ImageDataModule, split: TestedSplit) -> list[Source]:
        memory = module.memory
        with torch.no_grad():
            classes = torch.arange(data.num_classes, device=module.device)
            images = memory.recall(classes).flatten(0, 1)
        labels = classes.repeat_interleave(memory.num_slots)
        stored = memory.storage_bytes if module.origin is None else module.origin.storage_bytes
        count = self.validation_networks if split == "val" else self.networks
        sources = [Source("recalled", images, labels, self.protocol, count, memory.storage_floats, stored)]
        if self.baselines and split == "test":
            real_images, real_labels = data.train_set
            count, floats = min(count, module.extrapolation.upper_bound_tasks), real_images.numel()
            sources.append(
                Source("all real", real_images, real_labels, self.real_protocol, count, floats, floats * PIXEL_BYTES)
            )
        return sources


class _TasksAcross:
    """Makes test task number n."""

    def __init__(
        self,
        tasks: ClassTasks,
        ways: int,
        source: Source,
        measured_on: tuple[Tensor, Tensor],
        seed: int,
        place: tuple[int, int],
    ) -> None:
        self._tasks, self._ways, self._seed, self._place = tasks, ways, seed, place
        num_classes = sum(map(len, tasks))
        self._images, self._test_images = source.images, measured_on[0]
        self._members = members_of_classes(source.labels, num_classes)
        self._test_members = members_of_classes(measured_on[1], num_classes)

    def __call__(self, number: int) -> SmallTask:
        classes = draw_across_tasks(self._tasks, self._ways, number, self._seed)
        return SmallTask(
            *_of_classes(self._images, self._members, classes),
            *_of_classes(self._test_images, self._test_members, classes),
            derived_seed(self._seed, self._ways, *self._place, number),
        )


def _of_classes(images: Tensor, members: list[Tensor], classes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The images of some classes, class by class, and their new labels 0..k-1."""
    chosen = [members[label] for label in classes]
    sizes = torch.tensor([len(index) for index in chosen], device=images.device)
    labels = torch.arange(len(classes), device=images.device).repeat_interleave(sizes)
    return images[torch.cat(chosen)], labels
