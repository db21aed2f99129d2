"""Testing classifiers for classes that were never seen together (section 5.3.1)."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.class_sets import ClassSets, draw_across_sets, members_of_classes
from rtp.evaluation.base import (
    PIXEL_BYTES,
    EvaluatedSplit,
    Progress,
    TrainingSource,
    no_progress,
)
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import evaluator_of
from rtp.evaluation.tasks import EvaluationTask, EvaluationTasks, SynthesisEvaluator
from rtp.modules.distillation.task_distillation import TaskDistillation
from rtp.utils.seeds import derived_seed


@dataclass(frozen=True)
class LabelledSource(TrainingSource):
    """Training images of evaluation tasks.

    Attributes:
        images: (n, C, H, W), of all classes.
        labels: (n,) their labels in the data set.
        tasks: Evaluation tasks to measure.
    """

    images: Tensor
    labels: Tensor
    tasks: int


class ExtrapolationEvaluator(SynthesisEvaluator[TaskDistillation]):
    """Trains networks for random evaluation tasks across the learned class sets on images recalled by label.

    An evaluation task takes one class each of k random class sets, drawn anew for each task, so that two tasks may
    share classes; the paper gives only their number. Its network is trained on what the k memories recall and measured
    on all real images of these classes. With `baselines`, the upper bound: networks trained on all real training images
    of the classes, for `real_epochs` in minibatches of `real_batch_size`.

    The results are "k-way recalled" and, with baselines, "k-way all real", for each k and architecture.
    """

    def results(
        self, module: TaskDistillation, data: ImageDataModule, split: EvaluatedSplit, progress: Progress = no_progress
    ) -> list[Result]:
        """See `Evaluator.results`."""
        ways, sources = module.extrapolation.ways, self._sources(module, data, split)
        architectures = self.architectures(module, split)
        rows = list(product(ways[:1] if split == "val" else ways, enumerate(sources), enumerate(architectures)))
        with progress(sum(source.tasks * source.protocol.epochs for _, (_, source), _ in rows)) as on_epoch:
            return [
                self.result(
                    module,
                    data,
                    source,
                    architecture,
                    self._tasks(module, self.images(data, split), source, k, (row, column)),
                    on_epoch,
                )
                for k, (row, source), (column, architecture) in rows
            ]

    def _sources(self, module: TaskDistillation, data: ImageDataModule, split: EvaluatedSplit) -> list[LabelledSource]:
        settings, memory, count = self.settings, module.memory, self.num_networks(split)
        sources = [
            LabelledSource(
                "recalled", settings.protocol, memory.storage_floats, module.storage_bytes, *module.recalled(), count
            )
        ]
        if settings.baselines and split == "test":
            images, labels = data.train_set
            count, floats = min(count, module.extrapolation.upper_bound_tasks), images.numel()
            sources.append(
                LabelledSource("all real", settings.real_protocol, floats, floats * PIXEL_BYTES, images, labels, count)
            )
        return sources

    def _tasks(
        self,
        module: TaskDistillation,
        measured_on: LabelledImages,
        source: LabelledSource,
        ways: int,
        place: tuple[int, int],
    ) -> EvaluationTasks:
        class_sets: ClassSets = module.memory.tasks
        num_classes, seed = sum(map(len, class_sets)), self.settings.seed
        members = members_of_classes(source.labels, num_classes)
        test_members = members_of_classes(measured_on[1], num_classes)

        def make(number: int) -> EvaluationTask:
            classes = draw_across_sets(class_sets, ways, number, seed)
            return EvaluationTask(
                *_of_classes(source.images, members, classes),
                *_of_classes(measured_on[0], test_members, classes),
                derived_seed(seed, ways, *place, number),
            )

        return EvaluationTasks(f"{ways}-way", ways, make, source.tasks, module.extrapolation.chunk_size)


@evaluator_of.register
def _(module: TaskDistillation) -> type[ExtrapolationEvaluator]:
    return ExtrapolationEvaluator


def _of_classes(images: Tensor, members: list[Tensor], classes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The images of some classes, class by class, and their new labels 0..k-1."""
    chosen = [members[label] for label in classes]
    sizes = torch.tensor([len(index) for index in chosen], device=images.device)
    labels = torch.arange(len(classes), device=images.device).repeat_interleave(sizes)
    return images[torch.cat(chosen)], labels
