"""GDumb: stores balanced samples, and trains on nothing else when it is asked."""

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.continual.base import Classifier, ContinualLearner
from rtp.modules.continual.stores.base import SampleBits
from rtp.modules.continual.stores.class_balanced import ClassBalancedStore
from rtp.modules.networks.training import TrainingProtocol
from rtp.utils.checks import check_at_least, check_positive
from rtp.utils.seeds import derived_seed

Balance = Literal["labels", "tasks_and_labels"]


class GDumb(ContinualLearner):
    """Fills its memory greedily, balanced over classes, and trains networks from scratch on it to classify.

    One network for all tasks is trained on all stored samples, over all outputs; a task's images are classified among
    the task's own outputs (the mask m of the paper). It learns nothing from samples that it does not store.

    The paper's streams have disjoint classes. Where tasks share a head, `balance` says what a class is. With "labels",
    the paper's counting taken by its word, the first task fills the memory, as later ones bring no new label.

    Deviations from the paper: `protocol` instead of SGDR with warm restarts, minibatches of 16 and CutMix; and among
    the classes with most samples the first gives one up, where the paper does not say which.

    Prabhu, Torr and Dokania, "GDumb: A Simple Approach that Questions Our Progress in Continual Learning", ECCV 2020.

    Args:
        memory_images: Storage budget, in real images, at least 1.
        balance: Whether the same label in another task is the same class ("labels") or another ("tasks_and_labels");
            it is another in any case where tasks have heads of their own.
        sample_bits: As in `ReplayLearner`.
        networks: Networks trained to measure a task, at least 1.
        protocol: How they are trained.
        augmentation: Applied image by image when they are trained.
        seed: Seed of these networks.
        **kwargs: As in `ContinualLearner`.

    Attributes:
        store: The stored samples.

    Raises:
        UserError: If an argument is out of its range.
    """

    def __init__(
        self,
        memory_images: int,
        balance: Balance = "labels",
        sample_bits: SampleBits = 32,
        networks: int = 1,
        protocol: TrainingProtocol = TrainingProtocol(),  # noqa: B008  # frozen
        augmentation: Augmentation | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_positive("memory_images", memory_images)
        check_at_least("networks", networks, 1)
        if balance not in get_args(Balance):
            raise UserError(f"balance is {balance!r}: use one of {', '.join(get_args(Balance))}")
        super().__init__(memory_images=memory_images, **kwargs)
        self.fresh_network(self.total_classes)  # refuses one that does not suit the images before the first step
        by_task = self.own_heads or balance == "tasks_and_labels"
        self.store = ClassBalancedStore(
            self.num_places(sample_bits),
            self.image_shape,
            self.num_classes,
            self.num_tasks if by_task else 1,
            sample_bits,
        )
        self.networks = networks
        self.protocol = protocol
        self.augmentation = augmentation
        self.seed = seed
        self._trained: list[nn.Module] = []  # on `_trained_on`, which all tasks of one evaluation share
        self._trained_on: Tensor | None = None

    @property
    def needs_task(self) -> bool:
        """Whether each task has outputs of its own, which a task's images are classified among."""
        return self.own_heads

    def learn(self, batch: StreamBatch) -> None:
        """Offer a minibatch to the store, the first time that it is seen."""
        self._trained, self._trained_on = [], None  # nothing but the store is kept
        if batch.replay == 0:
            self.store.add(batch.images, batch.labels, batch.task)

    def classifiers(self, task: int) -> list[Classifier]:
        """Train `networks` fresh networks on what is stored; every call returns the same, until there is more."""
        images, labels, tasks = self.store.content()
        if self._trained_on is None or not torch.equal(self._trained_on, images):
            seeds = [derived_seed(self.seed, number) for number in range(self.networks)]
            outputs = self.outputs(labels, tasks)
            self._trained = self.trained_networks(
                images, outputs, self.total_classes, seeds, self.protocol, self.augmentation
            )
            self._trained_on = images.clone()
        return [partial(self._classify, network, task) for network in self._trained]

    @torch.no_grad()
    def predict(self, images: Tensor, task: int) -> Tensor:
        """Classify by the first of the `classifiers`; see `ContinualLearner.predict`."""
        return self.classifiers(task)[0](images)

    def _classify(self, network: nn.Module, task: int, images: Tensor) -> Tensor:
        return self.task_columns(network(images), task)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None: nothing is learned on the stream."""
        return []
