"""Testing classifiers for classes that were never seen together (section 5.3.1)."""

from functools import partial
from itertools import product

import torch
from torch import Tensor

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.class_sets import draw_across_sets, renumbered
from rtp.evaluation.base import PIXEL_BYTES, EvaluatedSplit, Progress, no_progress
from rtp.evaluation.baselines import TrainingSet
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import evaluator_of
from rtp.evaluation.tasks import EvaluationTask, EvaluationTasks, SynthesisEvaluator
from rtp.modules.distillation.task_distillation import TaskDistillation
from rtp.utils.seeds import derived_seed


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
        settings, count = self.settings, self.num_networks(split)
        recalled, storage = module.recalled(), (module.memory.storage_floats, module.storage_bytes)
        memory = TrainingSet(
            "recalled", settings.protocol, *storage, lambda: recalled, budget_floats=module.budget_floats
        )
        sources = [(memory, count)]
        if settings.baselines and split == "test":
            floats = data.train_set[0].numel()
            real = TrainingSet("all real", settings.real_protocol, floats, floats * PIXEL_BYTES, lambda: data.train_set)
            sources.append((real, min(count, module.extrapolation.upper_bound_tasks)))
        ways = module.extrapolation.ways[:1] if split == "val" else module.extrapolation.ways
        rows = list(product(ways, enumerate(sources), enumerate(self.architectures(module, split))))
        results = []
        with progress(sum(tasks * source.protocol.epochs for _, (_, (source, tasks)), _ in rows)) as on_epoch:
            for k, (row, (source, tasks)), (column, architecture) in rows:
                make = partial(self._task, module, source, self.images(data, split), (k, row, column))
                of_row = EvaluationTasks(f"{k}-way", k, make, tasks, module.extrapolation.chunk_size)
                results.append(self.result(module, data, source, architecture, of_row, on_epoch))
        return results

    def _task(
        self,
        module: TaskDistillation,
        source: TrainingSet,
        measured_on: LabelledImages,
        place: tuple[int, int, int],
        number: int,
    ) -> EvaluationTask:
        seed, (ways, _, _) = self.settings.seed, place
        classes = draw_across_sets(module.memory.tasks, ways, number, seed)
        training, test = _of_classes(*source.draw(), classes), _of_classes(*measured_on, classes)
        return EvaluationTask(*training, *test, derived_seed(seed, *place, number))


evaluator_of.register(TaskDistillation, lambda _: ExtrapolationEvaluator)


def _of_classes(images: Tensor, labels: Tensor, classes: tuple[int, ...]) -> LabelledImages:
    """The images of some classes, class by class, and their new labels 0..k-1."""
    index = torch.cat([(labels == label).nonzero().flatten() for label in classes])
    return images[index], renumbered(labels[index], classes)
