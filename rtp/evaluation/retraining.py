"""Evaluation of a memory by training fresh networks on what it recalls (section 5.1): the default evaluator."""

from dataclasses import replace
from functools import partial, singledispatch
from itertools import product
from statistics import fmean
from time import perf_counter
from typing import Any

from torch import nn

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.sampling import Batches
from rtp.evaluation.base import EvaluatedSplit, Evaluator, Progress, no_progress
from rtp.evaluation.baselines import TrainingSet, baseline_sets
from rtp.evaluation.results import Result
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.base import Memory
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, num_correct, train_networks
from rtp.utils.distributed import all_gather, interleave, shard_indices
from rtp.utils.seeds import derived_seed


class RetrainingEvaluator(Evaluator[Distillation]):
    """Trains networks on the recalled images and, with `baselines`, on sets of real images.

    Each network has its own random stream, which follows from `seed` and the numbers of its training set, its
    architecture and the network.
    """

    def results(
        self, module: Distillation, data: ImageDataModule, split: EvaluatedSplit, progress: Progress = no_progress
    ) -> list[Result]:
        """See `Evaluator.results`."""
        settings, mine = self.settings, shard_indices(self.num_networks(split))
        batches = data.val_dataloader() if split == "val" else data.test_dataloader()
        training_sets, architectures = self._training_sets(module, data, split), self.architectures(module, split)
        rows = list(product(enumerate(training_sets), enumerate(architectures)))
        found = []  # of each row: the class, training images, accuracy and seconds of each of this process's networks
        with progress(sum(training_set.protocol.epochs for (_, training_set), _ in rows) * len(mine)) as on_epoch:
            for (row, training_set), (column, architecture) in rows:
                trainees = []
                for number in mine:
                    seed = derived_seed(settings.seed, row, column, number)
                    with isolated_rng(seed):
                        images, labels = training_set.draw()
                        trainees.append(Trainee(module.fresh_network(architecture), images, labels, seed))
                protocol, augmentation, start = training_set.protocol, self.augmentation(module), perf_counter()
                networks = train_networks(trainees, protocol, augmentation, settings.vmapped, on_epoch)
                seconds = (perf_counter() - start) / max(1, len(trainees))
                of_row = [
                    (type(network).__name__, len(trainee.labels), _accuracy(network, batches), seconds)
                    for trainee, network in zip(trainees, networks, strict=True)
                ]
                found.append(of_row)
        results = []
        for ((_, training_set), _), ranks in zip(rows, zip(*all_gather(found), strict=True), strict=True):
            names, sizes, accuracies, seconds_of = zip(*interleave(ranks), strict=True)
            results.append(training_set.result(data, names[0], accuracies, sizes[0], fmean(seconds_of)))
        return results

    def _training_sets(self, module: Distillation, data: ImageDataModule, split: EvaluatedSplit) -> list[TrainingSet]:
        settings, recalled = self.settings, module.recalled()
        protocol, budget = at_learned_rate(settings.protocol, module.memory), module.budget_floats
        storage = module.memory.storage_floats, module.storage_bytes
        distilled = TrainingSet("distilled", protocol, *storage, lambda: recalled, budget_floats=budget)
        if split == "val" or not settings.baselines:
            return [distilled]
        protocols, fresh = (settings.protocol, settings.real_protocol), partial(module.fresh_network, module.network)
        return [distilled, *baseline_sets(data, budget, *protocols, fresh, self.augmentation(module), settings.seed)]


def at_learned_rate(protocol: TrainingProtocol, memory: Memory) -> TrainingProtocol:
    """The protocol with its learning rate times the factor that the memory has learned, if any."""
    factor = memory.rate_factor
    return protocol if factor is None else replace(protocol, learning_rate=protocol.learning_rate * factor.item())


def _accuracy(network: nn.Module, batches: Batches[LabelledImages]) -> float:
    """The fraction of correctly classified images."""
    counts = [(num_correct(network, images, labels, len(labels)), len(labels)) for images, labels in batches]
    return sum(correct for correct, _ in counts) / sum(images for _, images in counts)


@singledispatch
def evaluator_of(module: Distillation) -> type[Evaluator[Any]]:
    """The class of a module's evaluator: `RetrainingEvaluator`, unless the module's class has registered another one.

    A module class of your own inherits its base class's, or registers one of yours with `evaluator_of.register`.
    """
    return RetrainingEvaluator
