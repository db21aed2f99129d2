"""Testing classifiers for classes of which a few images are seen, and what they are compared with (table 4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from rtp.artefact import DistilledMemory, Protocol, load
from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.base import Advance, SmallTasks, SynthesisEvaluation, TestedSplit
from rtp.evaluation.baselines import features_of
from rtp.evaluation.few_shot import FewShotTasks, majority_labels, nearest_class_mean
from rtp.evaluation.results import Result
from rtp.evaluation.small_tasks import SmallTask
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.distillation.image_distillation import ImageAddressedDistillation
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.networks import Network
from rtp.modules.networks.training import Trainee, TrainingProtocol, own_randomness, train_networks
from rtp.utils.distributed import all_gather, interleave, shard_indices
from rtp.utils.seeds import derived_seed

FLOAT_BYTES = 4  # of a weight of the classifier (float32)
NETWORKS_AT_ONCE = 20  # the paper's number of test tasks (A.3)


@dataclass(frozen=True)
class Method:
    """A way to recall training images for the classes of a task from their shots.

    Attributes:
        name: As in the results.
        recall: Takes shots (k, s, C, H, W) to images (k, m, C, H, W).
        protocol: How networks are trained on them.
        storage_floats: Numbers that have to be stored.
        storage_bytes: Bytes that they take.
    """

    name: str
    recall: Callable[[Tensor], Tensor]
    protocol: TrainingProtocol
    storage_floats: int
    storage_bytes: int


class ImageRecallEvaluation(SynthesisEvaluation):
    """Trains networks for few-shot tasks on images recalled by the shots.

    The classes of a task are random, its shots random images of the split that is tested on, and all other images of
    its classes are what its network is measured on. All methods see the same tasks.

    With `baselines`, a classifier is trained on the whole training set with `real_epochs`, `real_learning_rate` and
    `real_batch_size` (the paper: 100 epochs of SGD with learning rate 0.01 and momentum 0.9; A.3), and then there are

    - "nearest neighbour": the class whose shots have the nearest mean of the features that the classifier's last layer
      reads, by Euclidean distance; the paper leaves this open, see `nearest_class_mean`;
    - "classify-then-recall": the majority of a class's shots, as the classifier labels them, is the label that the
      class's images are recalled by, from the memory in `few_shot.label_memory`. Networks are trained on them as that
      memory's file says, and with this run's augmentation. Where a task has more than one class of a majority label,
      it trains on the same images under different labels; the paper does not say what else to do.

    Attributes:
        results: "k-way s-shot image addressing", and the baselines, for each number of shots and architecture.
    """

    def evaluated(
        self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit, advance: Advance
    ) -> Iterator[Result]:
        """See `SynthesisEvaluation.evaluated`."""
        assert isinstance(module, ImageAddressedDistillation)  # which put this callback here
        few_shot, real = module.few_shot, data.validation_set if split == "val" else data.test_set
        methods, classifier = [_image_addressing(module, self.protocol)], None
        if self.baselines and split == "test":
            labelled = self._labelled(module, data)  # refused before anything is trained
            classifier = self._classifier(module, data, advance)
            if labelled is not None:
                methods.append(_classify_then_recall(classifier, labelled, module.device))
        for shots in few_shot.shots[:1] if split == "val" else few_shot.shots:
            tasks = FewShotTasks(*real, few_shot.ways, shots, self.seed)
            for row, method in enumerate(methods):
                yield from self._of_method(module, data, split, tasks, (row, method), advance)
            if classifier is not None:
                yield self._nearest_neighbour(data, tasks, classifier)

    def epochs(self, module: ClassifierSynthesis, data: ImageDataModule, split: TestedSplit) -> int:
        """See `SynthesisEvaluation.epochs`."""
        assert isinstance(module, ImageAddressedDistillation)
        if split == "val":
            return self.validation_networks * self.protocol.epochs
        of_a_task, of_classifier = self.protocol.epochs, 0
        if self.baselines:
            labelled, of_classifier = self._labelled(module, data), self.real_protocol.epochs
            of_a_task += 0 if labelled is None else labelled.protocol.epochs
        rows = len(module.few_shot.shots) * len(self.tested_architectures(module, split))
        return rows * self.networks * of_a_task + of_classifier

    def _labelled(self, module: ImageAddressedDistillation, data: ImageDataModule) -> DistilledMemory | None:
        path = module.few_shot.label_memory
        return None if path is None else label_memory(Path(path), data)

    def _of_method(
        self,
        module: ImageAddressedDistillation,
        data: ImageDataModule,
        split: TestedSplit,
        tasks: FewShotTasks,
        numbered: tuple[int, Method],
        advance: Advance,
    ) -> Iterator[Result]:
        row, method = numbered
        for column, architecture in enumerate(self.tested_architectures(module, split)):

            def task(number: int, place: tuple[int, int] = (row, column)) -> SmallTask:
                drawn = tasks(number)
                with torch.no_grad():
                    images = method.recall(drawn.shots)
                labels = torch.arange(tasks.ways, device=images.device).repeat_interleave(images.shape[1])
                seed = derived_seed(self.seed, tasks.shots, *place, number)
                return SmallTask(images.flatten(0, 1), labels, drawn.test_images, drawn.test_labels, seed)

            count = self.validation_networks if split == "val" else self.networks
            accuracies = self.measured(
                SmallTasks(task, count, NETWORKS_AT_ONCE),
                partial(module.fresh_classifier, architecture, tasks.ways),
                method.protocol,
                self._augmentation(module),
                advance,
            )
            yield Result(
                f"{tasks.ways}-way {tasks.shots}-shot {method.name}",
                module.architecture_name(architecture),
                accuracies,
                method.protocol.epochs,
                len(task(0).labels),
                method.storage_floats,
                method.storage_bytes,
                100 * method.storage_floats / data.num_floats,
            )

    def _nearest_neighbour(self, data: ImageDataModule, tasks: FewShotTasks, classifier: nn.Module) -> Result:
        def accuracy(number: int) -> float:
            task = tasks(number)
            shots = features_of(classifier, task.shots.flatten(0, 1)).unflatten(0, task.shots.shape[:2])
            found = nearest_class_mean(shots, features_of(classifier, task.test_images))
            return float((found == task.test_labels).double().mean())

        floats = _num_floats(classifier.features if isinstance(classifier, Network) else classifier)
        return Result(
            f"{tasks.ways}-way {tasks.shots}-shot nearest neighbour",
            type(classifier).__name__,
            interleave(all_gather([accuracy(number) for number in shard_indices(self.networks)])),
            self.real_protocol.epochs,
            tasks.ways * tasks.shots,
            floats,
            floats * FLOAT_BYTES,
            100 * floats / data.num_floats,
        )

    def _classifier(self, module: ImageAddressedDistillation, data: ImageDataModule, advance: Advance) -> nn.Module:
        seed = derived_seed(self.seed, 0)
        with own_randomness(seed):
            network = module.fresh_classifier(module.network, data.num_classes)
        trainee = Trainee(network, *data.train_set, seed)
        return train_networks([trainee], self.real_protocol, self._augmentation(module), on_epoch=advance)[0]


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

    stored = memory.storage_bytes if module.origin is None else module.origin.storage_bytes
    return Method("image addressing", recall, protocol, memory.storage_floats, stored)


def _classify_then_recall(classifier: nn.Module, labelled: DistilledMemory, device: torch.device) -> Method:
    memory = labelled.memory.to(device)

    def recall(shots: Tensor) -> Tensor:
        return memory.recall(majority_labels(classifier(shots.flatten(0, 1)).unflatten(0, shots.shape[:2])))

    weights = _num_floats(classifier)
    floats, stored = labelled.storage_floats + weights, labelled.storage_bytes + weights * FLOAT_BYTES
    return Method("classify-then-recall", recall, _training(labelled.protocol), floats, stored)


def _training(protocol: Protocol) -> TrainingProtocol:
    """How a file says that networks are trained."""
    return TrainingProtocol(**{field.name: getattr(protocol, field.name) for field in fields(TrainingProtocol)})


def _num_floats(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
