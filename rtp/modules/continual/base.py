"""The base of all LightningModules that learn a stream of tasks: one pass, a storage budget, prediction."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.continual.stores.base import FLOAT_BYTES, SampleBits, SampleStore, sample_bytes, tensor_bytes
from rtp.modules.distillation.base import MemorySource
from rtp.modules.distillation.resumable import ResumableModule
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, train_networks
from rtp.runs.lightning_internals import writes_step
from rtp.utils.checks import check_at_least

Classifier = Callable[[Tensor], Tensor]
"""Maps images (n, C, H, W) to logits (n, num_classes) over the classes of one task."""


LARGEST_KEY = "rtp_largest_bytes"
"""Where a checkpoint holds the largest `storage_bytes`, `other_bytes` and `storage_floats`."""


def largest(checkpoint: Mapping[str, Any]) -> tuple[int, int, int]:
    """The largest `storage_bytes`, `other_bytes` and `storage_floats` of a learner's checkpoint.

    Zeros in one from before bytes were counted; in one from before there were other numbers, all have 32 bits.
    """
    found = checkpoint.get(LARGEST_KEY, [0, 0])
    storage, other = found[:2]
    return storage, other, found[2] if len(found) > 2 else storage // FLOAT_BYTES


class ContinualLearner(ResumableModule, ABC):
    """Learns tasks one after the other from minibatches that it sees once, with a storage budget for what it keeps.

    A subclass defines what a minibatch teaches (`learn`) and how images are classified (`predict`). It optimises
    manually, with as many updates per minibatch as its method has. All that it learns or stores is in its state.

    The budget of section 5.2, "exact same memory sizes", is that of images of 32-bit floats, in bytes. Charged to it
    are raw samples, logits kept beside them, and compressed memories (`storage_bytes`). What the paper leaves out is
    counted apart (`other_bytes`): weights of a network in training, moments of an optimizer, a memory being learned,
    labels.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of a single network for all tasks, taken from the stream: `num_classes` if the tasks
            share a head, otherwise `num_tasks * num_classes`, and task t owns those from t * num_classes on.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        memory_images: Storage budget of all tasks together, in real images ("total mem size", table 5); 0 for a
            learner that keeps nothing.

    Attributes:
        finished_tasks: Tasks whose last minibatch has been learned; int64 scalar, part of the state.
        memory_source: The file whose memories are tested; None for a checkpoint or new ones.
        keeps_changing: Whether learning a task changes the classification of earlier ones, which BTI, backward
            transfer and forgetting measure.
        largest_storage_bytes: The largest `storage_bytes` after a minibatch or a task so far; in checkpoints.
        largest_storage_floats: The `storage_floats` at that time.
        largest_other_bytes: The same of `other_bytes`.

    Raises:
        UserError: If `memory_images` is negative.
    """

    finished_tasks: Tensor
    keeps_changing = True
    memory_source: MemorySource | None = None

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        memory_images: int,
    ) -> None:
        super().__init__()
        check_at_least("memory_images", memory_images, 0)
        self.automatic_optimization = False
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.total_classes = total_classes
        self.num_tasks = num_tasks
        self.network = network
        self.memory_images = memory_images
        self.register_buffer("finished_tasks", torch.tensor(0))
        self.largest_storage_bytes = 0
        self.largest_storage_floats = 0
        self.largest_other_bytes = 0

    @property
    def needs_task(self) -> bool:
        """Whether classification depends on being told an image's task; a learner that does not need it overrides it.

        `predict` is told the task, so by default True.
        """
        return True

    @property
    def scenario(self) -> str:
        """Name the scenario: "task-incremental" if the learner needs the task at test time, else "domain-incremental".

        van de Ven et al., "Three types of incremental learning", Nature Machine Intelligence 2022. The third type,
        class-incremental, in which the task is to be inferred, is not measured: each task is tested on its own classes.
        """
        return "task-incremental" if self.needs_task else "domain-incremental"

    @property
    def image_bytes(self) -> int:
        """Bytes of a real image, the unit of the budget: 4 * C * H * W."""
        return math.prod(self.image_shape) * FLOAT_BYTES

    @property
    def budget_bytes(self) -> int:
        """The storage budget: memory_images * `image_bytes`."""
        return self.memory_images * self.image_bytes

    def num_places(self, bits: SampleBits, others: int = 0) -> int:
        """Real images that the budget holds in `bits` a number (see `SampleStore`), each with `others` bytes more."""
        return self.budget_bytes // (sample_bytes(self.image_shape, bits) + others)

    @property
    def storage_bytes(self) -> int:
        """Bytes charged now, at most `budget_bytes`: raw samples, logits kept beside them, and compressed memories."""
        return sum(store.storage_bytes for store in self._stores())

    @property
    def storage_floats(self) -> int:
        """How many numbers `storage_bytes` is of, whatever bits they are stored in."""
        return sum(store.storage_floats for store in self._stores())

    @property
    def other_bytes(self) -> int:
        """Bytes of all else that is kept between minibatches, without limit: weights, penalties, labels, counters.

        It is the module's state without the samples. An empty place for a sample is not counted.
        """
        stores = list(self._stores())
        inside = {id(tensor) for store in stores for tensor in store.buffers()}
        kept = [tensor for tensor in (*self.parameters(), *self.buffers()) if id(tensor) not in inside]
        return tensor_bytes(kept) + sum(store.other_bytes for store in stores)

    def _stores(self) -> Iterator[SampleStore]:
        return (module for module in self.modules() if isinstance(module, SampleStore))

    @abstractmethod
    def learn(self, batch: StreamBatch) -> None:
        """Learn from one minibatch, whose `replay` counts how often it was seen before.

        Random numbers come from torch's global generators, which are seeded for each minibatch.
        """

    def end_task(self, task: int) -> None:
        """Finish a task after its last minibatch; by default, do nothing."""

    @abstractmethod
    def predict(self, images: Tensor, task: int) -> Tensor:
        """Map images (n, C, H, W) of a known task to logits (n, num_classes).

        The task is known as in GEM (Lopez-Paz and Ranzato, NeurIPS 2017).
        """

    def classifiers(self, task: int) -> list[Classifier]:
        """What is measured on a task: `predict`, or several networks whose accuracies are averaged."""
        return [partial(self.predict, task=task)]

    def task_columns(self, logits: Tensor, task: int) -> Tensor:
        """A task's outputs (n, num_classes) of the logits (n, total_classes) of a network for all tasks."""
        first = task * self.num_classes if self.own_heads else 0
        return logits[:, first : first + self.num_classes]

    @property
    def own_heads(self) -> bool:
        """Whether each task has outputs of its own."""
        return self.total_classes > self.num_classes

    def outputs(self, labels: Tensor, tasks: Tensor | int) -> Tensor:
        """The outputs (n,) of a network for all tasks that labels (n,) of tasks (n,), or of one task, stand for."""
        return labels + tasks * self.num_classes if self.own_heads else labels

    def fresh_network(self, num_classes: int) -> nn.Module:
        """Build a network of `num_classes` outputs with new random weights on the module's device."""
        with self.device:
            return self.network(self.image_shape, num_classes)

    def trained_networks(
        self,
        images: Tensor,
        labels: Tensor,
        num_classes: int,
        seeds: Sequence[int],
        protocol: TrainingProtocol,
        augmentation: Augmentation | None = None,
    ) -> list[nn.Module]:
        """Train a fresh network of `num_classes` outputs for each seed on images (n, C, H, W) and labels (n,).

        A seed decides its network's weights and the order of the images. The global generators stay as they are.
        """
        trainees = []
        for seed in seeds:
            with isolated_rng(seed):
                trainees.append(Trainee(self.fresh_network(num_classes), images, labels, seed))
        return train_networks(trainees, protocol, augmentation)

    def check_finite(self, name: str, value: Tensor) -> None:
        """Raise DivergenceError if a scalar is NaN or infinite; `name` says what it is, such as "the loss"."""
        if not torch.isfinite(value):
            raise self.divergence(f"{name} is {value.item()}")

    # Lightning ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: StreamBatch, batch_idx: int) -> None:
        """Learn from one minibatch and check the budget, before and after the end of a task.

        Raises:
            UserError: If the previous task is not finished, as when a run that `max_time` stopped is continued.
            RuntimeError: If more is stored than the budget allows: a mistake in the learner.
        """
        if batch.task != self.finished_tasks:
            raise UserError(
                f"task {batch.task} comes, but {int(self.finished_tasks)} tasks are finished: start the run again, or "
                "continue it from a checkpoint that was written before it was stopped"
            )
        self.learn(batch)
        self._check_budget()
        if batch.last:
            self.end_task(batch.task)
            self.finished_tasks += 1
            self._check_budget()
        if writes_step(self):  # logging takes as long as a small network's gradient
            self.log("memory/storage_bytes", float(self.storage_bytes), batch_size=len(batch.labels))

    def _check_budget(self) -> None:
        stored = self.storage_bytes
        if stored > self.budget_bytes:
            raise RuntimeError(
                f"{type(self).__name__} stores {stored} bytes, but its budget is {self.budget_bytes} bytes"
            )
        if stored > self.largest_storage_bytes:
            self.largest_storage_bytes, self.largest_storage_floats = stored, self.storage_floats
        self.largest_other_bytes = max(self.largest_other_bytes, self.other_bytes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the largest storage so far, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[LARGEST_KEY] = [self.largest_storage_bytes, self.largest_other_bytes, self.largest_storage_floats]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the largest storage so far, too; a checkpoint from before it was counted has none."""
        super().on_load_checkpoint(checkpoint)
        self.largest_storage_bytes, self.largest_other_bytes, self.largest_storage_floats = largest(checkpoint)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: `RetainedAccuracy` measures the classifiers of each task."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As `validation_step`, on the test sets."""

    # Recall ------------------------------------------------------------------------------------------------------

    def recalled(self, task: int) -> tuple[Tensor, Tensor]:
        """All images (k * r, C, H, W) that a finished task's memory recalls, class by class, and labels (k * r,).

        Raises:
            UserError: By default: a learner that stores raw samples or nothing has no memories to recall from.
        """
        raise UserError(
            f"{type(self).__name__} keeps no memories of tasks that recall images: fit the stream with "
            "CompressThenRecall instead"
        )

    def predict_step(self, task: int) -> Tensor:
        """Recall all images (k, r, C, H, W) of a task, preprocessed as the stream's; of none, k = 0, if not finished.

        Raises:
            UserError: If no task is finished, or see `recalled`.
        """
        finished = int(self.finished_tasks)
        if not finished:
            raise UserError("no task of the stream is finished yet: there is nothing to recall, so train longer")
        images = self.recalled(min(task, finished - 1))[0].unflatten(0, (self.num_classes, -1))
        return images if task < finished else images[:0]
