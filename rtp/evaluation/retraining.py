"""Evaluation of a memory by training fresh networks on what it recalls (section 5.1): the default evaluator."""

from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

from rtp.datamodules.base import ImageDataModule
from rtp.evaluation.base import EvaluatedSplit, Evaluator, OnEpoch, Progress, no_progress
from rtp.evaluation.baselines import TrainingSet, baseline_sets
from rtp.evaluation.results import Result
from rtp.modules.distillation.base import Distillation
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import Trainee, accuracy, isolated_rng, train_networks
from rtp.utils.distributed import all_gather, interleave, shard_indices
from rtp.utils.seeds import derived_seed


@dataclass(frozen=True)
class RankAccuracies:
    """The accuracies of the networks that one process trained on a training set, perhaps of none.

    Attributes:
        architecture: Class name of the networks.
        images: Images in the training set.
        accuracies: One for each network.
    """

    architecture: str
    images: int
    accuracies: list[float]


class RetrainingEvaluator(Evaluator[Distillation]):
    """Trains networks on the recalled images and, with `baselines`, on sets of real images.

    Each network has its own random stream, which follows from `seed` and the numbers of its training set, its
    architecture and the network.
    """

    def results(
        self, module: Distillation, data: ImageDataModule, split: EvaluatedSplit, progress: Progress = no_progress
    ) -> list[Result]:
        """See `Evaluator.results`."""
        training_sets = self._training_sets(module, data, split)
        architectures = self.architectures(module, split)
        epochs = sum(training_set.protocol.epochs for training_set in training_sets)
        with progress(epochs * len(architectures) * len(shard_indices(self.num_networks(split)))) as on_epoch:
            mine = [
                self._accuracies(module, data, split, training_set, architecture, (row, column), on_epoch)
                for row, training_set in enumerate(training_sets)
                for column, architecture in enumerate(architectures)
            ]
        of_rows = zip(*all_gather(mine), strict=True)
        sets_of_rows = [training_set for training_set in training_sets for _ in architectures]
        return [
            training_set.result(
                data,
                ranks[0].architecture,  # the first process has a network in any case
                interleave([rank.accuracies for rank in ranks]),
                ranks[0].images,
            )
            for training_set, ranks in zip(sets_of_rows, of_rows, strict=True)
        ]

    def _training_sets(self, module: Distillation, data: ImageDataModule, split: EvaluatedSplit) -> list[TrainingSet]:
        settings, recalled, storage = self.settings, module.recalled(), module.memory.storage_floats
        distilled = TrainingSet("distilled", settings.protocol, storage, module.storage_bytes, lambda: recalled)
        if split == "val" or not settings.baselines:
            return [distilled]
        protocols, fresh = (settings.protocol, settings.real_protocol), partial(module.fresh_network, module.network)
        return [
            distilled,
            *baseline_sets(data, storage, *protocols, fresh, self.augmentation(module), settings.seed),
        ]

    def _accuracies(
        self,
        module: Distillation,
        data: ImageDataModule,
        split: EvaluatedSplit,
        training_set: TrainingSet,
        architecture: NetworkFactory,
        place: tuple[int, int],
        on_epoch: OnEpoch,
    ) -> RankAccuracies:
        trainees = []
        for number in shard_indices(self.num_networks(split)):
            seed = derived_seed(self.settings.seed, *place, number)
            with isolated_rng(seed):
                images, labels = training_set.draw()
                trainees.append(Trainee(module.fresh_network(architecture), images, labels, seed))
        networks = train_networks(
            trainees, training_set.protocol, self.augmentation(module), self.settings.vmapped, on_epoch
        )
        accuracies = [accuracy(network, *self.images(data, split), data.batch_size) for network in networks]
        name, images_each = (type(networks[0]).__name__, len(trainees[0].labels)) if networks else ("", 0)
        return RankAccuracies(name, images_each, accuracies)


@singledispatch
def evaluator_of(module: Distillation) -> type[Evaluator[Any]]:
    """The class of a module's evaluator: `RetrainingEvaluator`, unless the module's class has registered another one.

    A module class of your own inherits its base class's, or registers one of yours with `evaluator_of.register`.
    """
    return RetrainingEvaluator
