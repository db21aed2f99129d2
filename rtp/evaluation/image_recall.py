"""Testing classifiers for classes of which a few images are seen, and what they are compared with (table 4)."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from rtp.artefact import DistilledMemory, load
from rtp.datamodules.base import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.base import FLOAT_BYTES, EvaluatedSplit, OnEpoch, Progress, TrainingSource, no_progress
from rtp.evaluation.baselines import features_of
from rtp.evaluation.few_shot import FewShotTasks, majority_labels, nearest_class_mean
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import evaluator_of
from rtp.evaluation.tasks import EvaluationTask, EvaluationTasks, SynthesisEvaluator
from rtp.modules.distillation.image_distillation import ImageAddressedDistillation
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.networks import Network
from rtp.modules.networks.training import Trainee, TrainingProtocol, accuracy, isolated_rng, train_networks
from rtp.utils.distributed import all_gather, interleave, shard_indices
from rtp.utils.seeds import derived_seed

CHUNK_SIZE = 20  # networks; the paper's number of evaluation tasks (A.3)


@dataclass(frozen=True)
class Method(TrainingSource):
    """A way to recall training images from the shots of a task's classes.

    Attributes:
        recall: Maps shots (k, s, C, H, W) to images (k, m, C, H, W).
    """

    recall: Callable[[Tensor], Tensor]


class ImageRecallEvaluator(SynthesisEvaluator[ImageAddressedDistillation]):
    """Trains networks for few-shot tasks on images recalled by the shots.

    The classes of a task are random, its shots random images of the split, and all other images of its classes are what
    its network is measured on. All methods see the same tasks.

    With `baselines`, a classifier is trained on the whole training set with `real_epochs`, `real_learning_rate` and
    `real_batch_size` (the paper: 100 epochs of SGD with learning rate 0.01 and momentum 0.9; A.3), for two baselines:

    - "nearest neighbour": the class whose shots have the nearest mean of the features that the classifier's last layer
      reads, by Euclidean distance; the paper leaves this open, see `nearest_class_mean`;
    - "classify-then-recall": the classifier labels a class's shots, and their majority label recalls the class's images
      from the memory in `few_shot.label_memory`. Networks are trained on them with that file's protocol and this run's
      augmentation. Where several classes of a task have the same majority label, the task trains on the same images
      under different labels; the paper suggests nothing else.

    The results are "k-way s-shot image addressing" and the baselines, for each number of shots and architecture.
    """

    def results(
        self,
        module: ImageAddressedDistillation,
        data: ImageDataModule,
        split: EvaluatedSplit,
        progress: Progress = no_progress,
    ) -> list[Result]:
        """See `Evaluator.results`."""
        few_shot, settings, labelled = module.few_shot, self.settings, None
        all_shots = few_shot.shots[:1] if split == "val" else few_shot.shots
        count, architectures = self.num_networks(split), self.architectures(module, split)
        baselines = settings.baselines and split == "test"
        if baselines and few_shot.label_memory is not None:
            labelled = label_memory(Path(few_shot.label_memory), data)  # refused before anything is trained
        methods = [_image_addressing(module, settings.protocol)]
        epochs_of_a_task = settings.protocol.epochs + (0 if labelled is None else labelled.protocol.epochs)
        epochs = len(all_shots) * len(architectures) * count * epochs_of_a_task
        classifier, results = None, []
        with progress(epochs + baselines * settings.real_protocol.epochs) as on_epoch:
            if baselines:
                classifier = self._classifier(module, data, on_epoch)
                if labelled is not None:
                    methods.append(_classify_then_recall(classifier, labelled, module.device))
            for shots in all_shots:
                tasks = FewShotTasks(*self.images(data, split), few_shot.ways, shots, settings.seed)
                for (row, method), (column, architecture) in product(enumerate(methods), enumerate(architectures)):
                    make = partial(_task, method, tasks, (row, column))
                    of_method = EvaluationTasks(tasks.name, tasks.ways, make, count, CHUNK_SIZE)
                    results.append(self.result(module, data, method, architecture, of_method, on_epoch))
                if classifier is not None:
                    results.append(self._nearest_neighbour(data, tasks, classifier))
        return results

    def _nearest_neighbour(self, data: ImageDataModule, tasks: FewShotTasks, classifier: nn.Module) -> Result:
        def accuracy_of(number: int) -> float:
            task = tasks(number)
            shots = features_of(classifier, task.shots.flatten(0, 1)).unflatten(0, task.shots.shape[:2])
            features, labels = features_of(classifier, task.test_images), task.test_labels
            return accuracy(partial(nearest_class_mean, shots), features, labels, len(labels))

        floats = _num_floats(classifier.features if isinstance(classifier, Network) else classifier)
        source = TrainingSource("nearest neighbour", self.settings.real_protocol, floats, floats * FLOAT_BYTES)
        accuracies = interleave(all_gather([accuracy_of(number) for number in shard_indices(self.settings.networks)]))
        images = tasks.ways * tasks.shots
        name = type(classifier).__name__
        return source.result(data, name, accuracies, images, None, f"{tasks.name} ", tasks.ways)

    def _classifier(self, module: ImageAddressedDistillation, data: ImageDataModule, on_epoch: OnEpoch) -> nn.Module:
        seed = derived_seed(self.settings.seed, 0)
        with isolated_rng(seed):
            network = module.fresh_network(module.network, data.num_classes)
        trainee = Trainee(network, *data.train_set, seed)
        return train_networks([trainee], self.settings.real_protocol, self.augmentation(module), on_epoch=on_epoch)[0]


evaluator_of.register(ImageAddressedDistillation, lambda _: ImageRecallEvaluator)


@torch.no_grad()
def _task(method: Method, tasks: FewShotTasks, place: tuple[int, int], number: int) -> EvaluationTask:
    drawn = tasks(number)
    images = method.recall(drawn.shots)
    labels = torch.arange(tasks.ways, device=images.device).repeat_interleave(images.shape[1])
    seed = derived_seed(tasks.seed, tasks.shots, *place, number)
    return EvaluationTask(images.flatten(0, 1), labels, drawn.test_images, drawn.test_labels, seed)


def label_memory(path: Path, data: ImageDataModule) -> DistilledMemory:
    """Open a memory of the data set that is addressed by labels.

    Args:
        path: A file of `rtp export`.
        data: The data set, set up.

    Raises:
        UserError: If the file is no such memory, or its images are normalised in another way than the data set's.
    """
    stored = load(path)
    if isinstance(stored.memory, ImageAddressedMemory):
        raise UserError(f"{path} is addressed by images: give a memory that is addressed by labels as label_memory")
    if (stored.image_shape, stored.class_names) != (data.image_shape, tuple(data.class_names)):
        raise UserError(
            f"{path} is of {stored.description.dataset}, not of {data.name}: give a memory of these classes"
        )
    pixels = torch.rand(8, *data.image_shape, generator=torch.Generator().manual_seed(0))
    theirs, ours = stored.normalisation.apply(pixels), data.normalisation.apply(pixels)
    if not torch.allclose(theirs, ours, rtol=0, atol=1e-3):  # a file stores ZCA in float32
        raise UserError(
            f"the images of {path} are normalised in another way than the data set's: learn both with the same zca, "
            "validation_fraction and seed of the data"
        )
    return stored


def _image_addressing(module: ImageAddressedDistillation, protocol: TrainingProtocol) -> Method:
    memory = module.memory

    def recall(shots: Tensor) -> Tensor:
        return memory.recall_images(shots.flatten(0, 1)).unflatten(0, shots.shape[:2]).flatten(1, 2)

    storage = memory.storage_floats, module.storage_bytes
    return Method("image addressing", protocol, *storage, recall, budget_floats=module.budget_floats)


def _classify_then_recall(classifier: nn.Module, labelled: DistilledMemory, device: torch.device) -> Method:
    memory = labelled.memory.to(device)

    def recall(shots: Tensor) -> Tensor:
        return memory.recall(majority_labels(classifier(shots.flatten(0, 1)).unflatten(0, shots.shape[:2])))

    weights = _num_floats(classifier)
    floats, stored = labelled.storage_floats + weights, labelled.storage_bytes + weights * FLOAT_BYTES
    protocol = {field.name: getattr(labelled.protocol, field.name) for field in fields(TrainingProtocol)}
    return Method("classify-then-recall", TrainingProtocol(**protocol), floats, stored, recall)


def _num_floats(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
