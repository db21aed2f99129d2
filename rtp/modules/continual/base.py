"""What every LightningModule that learns a stream of tasks has in common: one pass, a storage budget, prediction."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.distillation.resumable import ResumableModule
from rtp.modules.networks import NetworkFactory
from rtp.utils.checks import check_at_least

Classifier = Callable[[Tensor], Tensor]
"""Maps images (n, C, H, W) to logits (n, num_classes) over the classes of one task."""


class ContinualLearner(ResumableModule, ABC):
    """Learns tasks one after the other from minibatches that it sees once, with a storage budget for what it keeps.

    A subclass says what a minibatch teaches (`learn`) and how images are classified (`predict`); it optimises by hand,
    with as many updates a minibatch as its method has. All that it learns or stores is in its state.

    The budget is that of section 5.2, "exact same memory sizes": floats of raw samples and of compressed memories.
    Weights of a network that is being trained, moments of an optimizer, and what is being compressed at the moment are
    working state and not counted.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of a single network for all tasks, taken from the stream: `num_classes` where the tasks
            share a head, or else `num_tasks * num_classes`, of which task t owns those from t * num_classes on.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        memory_images: Storage budget of all tasks together, in real images ("total mem size", table 5); 0 for a
            learner that keeps nothing.

    Attributes:
        finished_tasks: Tasks whose last minibatch has been learned; int64 scalar, part of the state.
        keeps_changing: Whether learning a task changes the classification of earlier ones: BTI is about that.

    Raises:
        UserError: If `memory_images` is negative.
    """

    finished_tasks: Tensor
    keeps_changing = True

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

    @property
    def budget_floats(self) -> int:
        """The storage budget: memory_images * C * H * W."""
        return self.memory_images * math.prod(self.image_shape)

    @property
    def storage_floats(self) -> int:
        """Floats stored right now: raw samples and compressed memories. Never more than `budget_floats`."""
        return 0

    @abstractmethod
    def learn(self, batch: StreamBatch) -> None:
        """Learn from one minibatch; what it draws comes from torch's global generators, seeded for this minibatch.

        Args:
            batch: The minibatch, `replay` of which counts how often it has been handed out before.
        """

    def end_task(self, task: int) -> None:
        """Do what is due after a task's last minibatch; nothing by default.

        Args:
            task: Number of the task.
        """

    @abstractmethod
    def predict(self, images: Tensor, task: int) -> Tensor:
        """Classify images of a task, whose number is known, as in GEM (Lopez-Paz and Ranzato, NeurIPS 2017).

        Args:
            images: (n, C, H, W).
            task: Number of the task.

        Returns:
            Logits, (n, num_classes).
        """

    def classifiers(self, task: int) -> list[Classifier]:
        """What is measured on a task: `predict`, or several networks whose accuracies are averaged.

        Args:
            task: Number of a task.
        """
        return [partial(self.predict, task=task)]

    def task_columns(self, logits: Tensor, task: int) -> Tensor:
        """The outputs of a task.

        Args:
            logits: (n, total_classes), of a single network for all tasks.
            task: Number of the task.

        Returns:
            (n, num_classes).
        """
        first = 0 if self.total_classes == self.num_classes else task * self.num_classes
        return logits[:, first : first + self.num_classes]

    def fresh_network(self, num_classes: int) -> nn.Module:
        """Build a network with new random weights on the module's device.

        Args:
            num_classes: Its outputs.
        """
        with self.device:
            return self.network(self.image_shape, num_classes)

    def check_finite(self, name: str, value: Tensor) -> None:
        """Stop a run whose loss or gradient is NaN or infinite.

        Args:
            name: What the number is, such as "the loss".
            value: A scalar.

        Raises:
            DivergenceError: If it is not finite.
        """
        if not torch.isfinite(value):
            raise self.divergence(f"{name} is {value.item()}")

    # Lightning ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: StreamBatch, batch_idx: int) -> None:
        """Learn from one minibatch and count what is stored then, before and after the end of a task.

        Args:
            batch: The minibatch.
            batch_idx: Its number in the task.

        Raises:
            UserError: If the task before has not been finished, as when a run is continued that `max_time` stopped.
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
        self.log("memory/storage_floats", float(self.storage_floats), batch_size=len(batch.labels))

    def _check_budget(self) -> None:
        if self.storage_floats > self.budget_floats:
            raise RuntimeError(
                f"{type(self).__name__} stores {self.storage_floats} floats, but its budget is {self.budget_floats}"
            )

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Nothing by itself: `RetainedAccuracy` measures the classifiers of each task."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As `validation_step`, on the test sets."""
