"""Base class of all task streams: the samples of each stream task, and a single pass over them."""

from abc import ABC, abstractmethod
from itertools import product

import numpy as np
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.normalisation import Normalisation
from rtp.datamodules.sampling import Batches, Description
from rtp.datamodules.streams.batches import SPLITS, StreamBatches, StreamSplit, TaskBatches
from rtp.datamodules.streams.batches import StreamBatch as StreamBatch
from rtp.errors import UserError
from rtp.utils.checks import check_at_least


class TaskStream(LightningDataModule, ABC):
    """Tasks derived from one image data set, each seen in a single pass (section 5.2: "streamed in mini-batches").

    The Trainer's epoch t is task t: `max_epochs` is the number of tasks and `reload_dataloaders_every_n_epochs` 1. The
    samples of a task and their order depend only on `seed`, the task and the split.

    Args:
        source: The data set, whose training, validation and test sets give the samples of the same splits.
        tasks: Number of tasks, at least 1.
        samples_per_task: Training samples of a task, drawn without replacement, at least 1; null takes all.
        batch_size: Samples in a minibatch of the stream, at least 1; 10 in the paper (table 5).
        replays: How often in a row a minibatch is yielded, at least 1; "#Replay" of table 5.
        seed: Seed of the tasks and of the order of their samples, at least 0.
        validation_samples: Validation samples of a task, at least 1; null takes all.
        test_samples: Test samples of a task, at least 1; null takes all.

    Raises:
        UserError: If an argument is out of its range.
    """

    kind: str
    """Word in front of the data set's name, such as "permuted"."""

    def __init__(
        self,
        source: ImageDataModule,
        tasks: int,
        samples_per_task: int | None,
        batch_size: int = 10,
        replays: int = 1,
        seed: int = 0,
        validation_samples: int | None = None,
        test_samples: int | None = None,
    ) -> None:
        super().__init__()
        samples = {
            "samples_per_task": samples_per_task,
            "validation_samples": validation_samples,
            "test_samples": test_samples,
        }
        for name, value in {"tasks": tasks, "batch_size": batch_size, "replays": replays, **samples}.items():
            check_at_least(name, value, 1)
        check_at_least("seed", seed, 0)
        self.source = source
        self.name = f"{self.kind}_{source.name}"
        self.num_tasks = tasks
        self.batch_size = batch_size
        self.replays = replays
        self.seed = seed
        self._samples = dict(zip(SPLITS, samples.items(), strict=True))  # argument and value

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        return self.source.image_shape

    @property
    def num_classes(self) -> int:
        """Classes of one task."""
        return self.source.num_classes

    @property
    def total_classes(self) -> int:
        """Outputs of one network for all tasks; if more than `num_classes`, task t owns those from t * num_classes."""
        return self.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the `total_classes` outputs."""
        return self.source.class_names[: self.total_classes]

    @property
    def normalisation(self) -> Normalisation:
        """The data set's normalisation, fitted on its untransformed training images."""
        return self.source.normalisation

    @abstractmethod
    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        """Apply a task's transformation to float32 pixels (n, C, H, W) in [0, 1]; the shape stays."""

    def classes(self, task: int) -> range:
        """The data set's classes of a task, in the order of the task's labels."""
        return range(self.source.num_classes)

    def prepare_data(self) -> None:
        """Download the data set."""
        self.source.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Read the data set, check that it suffices for every task and that the Trainer runs one task per epoch.

        Raises:
            DataError: If the data are missing or damaged.
            UserError: If a task needs more samples than there are, or the Trainer's settings do not fit.
        """
        if stage == "fit" and self.trainer is not None:
            self._check_trainer(self.trainer)
        self.source.setup(stage)
        for split, task in product(SPLITS if stage == "test" else SPLITS[:2], range(self.num_tasks)):
            (argument, wanted), there = self._samples[split], len(self._members(task, split))
            if wanted is not None and wanted > there:
                raise UserError(
                    f"{argument} is {wanted}, but {self.source.name} has {there} such images for task {task}: "
                    f"use {argument} <= {there}."
                )

    def train_dataloader(self) -> StreamBatches:
        """The task of the Trainer's epoch (without a Trainer the first); a resumed run starts at its next batch."""
        if self.trainer is None:
            return self.pass_over(0)
        task = min(self.trainer.current_epoch, self.num_tasks - 1)  # Lightning asks once more after the last epoch
        before = sum(len(self.pass_over(earlier)) for earlier in range(task))
        return self.pass_over(task, self.trainer.fit_loop.total_batch_idx + 1 - before)

    def val_dataloader(self) -> list[TaskBatches]:
        """One loader of validation samples per task, `source.batch_size` images per batch."""
        return [self.task_batches(task, "val") for task in range(self.num_tasks)]

    def test_dataloader(self) -> list[TaskBatches]:
        """One loader of test samples per task, as `val_dataloader`."""
        return [self.task_batches(task, "test") for task in range(self.num_tasks)]

    def predict_dataloader(self) -> Batches[int]:
        """The numbers of the tasks, a batch each: prediction recalls what the memory of each task holds."""
        return Batches(range(self.num_tasks))

    def pass_over(self, task: int, start: int = 0) -> StreamBatches:
        """The single pass over a task; `start` is the minibatches, replays included, that a resumed run has seen."""
        return StreamBatches(
            lambda: self.task_set(task, "train"),
            task,
            samples=self.num_samples(task, "train"),
            batch_size=self.batch_size,
            replays=self.replays,
            description=self.description(),
            start=start,
        )

    def task_batches(self, task: int, split: StreamSplit) -> TaskBatches:
        """The samples of a task in order, for validation or testing."""
        return TaskBatches(lambda: self.task_set(task, split), self.num_samples(task, split), self.source.batch_size)

    def task_set(self, task: int, split: StreamSplit) -> LabelledImages:
        """All samples of a task, for training in the order of the stream; `"test"` only after `setup("test")`.

        Returns:
            Images (n, C, H, W) float32, normalised, and labels (n,) int64 in 0..num_classes-1, on the training device.
        """
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        images, labels = self._source_set(split)
        generator = np.random.default_rng([self.seed, task, SPLITS.index(split)])
        order = generator.permutation(self._members(task, split))[: self._samples[split][1]]
        chosen = torch.from_numpy(order).to(images.device)
        pixels = self.transformed(self.normalisation.invert(images[chosen]), task)
        return self.normalisation.apply(pixels).to(device), (labels[chosen] - self.classes(task).start).to(device)

    def num_samples(self, task: int, split: StreamSplit) -> int:
        """Samples of a task."""
        return self._samples[split][1] or len(self._members(task, split))

    def description(self) -> Description:
        """Identify the stream in checkpoints; a subclass adds its own arguments."""
        return {
            "kind": self.kind,
            "source": self.source.name,
            "source_seed": self.source.seed,
            "validation_fraction": self.source.validation_fraction,
            "zca": self.source.zca,
            "seed": self.seed,
            "tasks": self.num_tasks,
            "samples": self.num_samples(0, "train"),
            "batch_size": self.batch_size,
            "replays": self.replays,
        }

    def _members(self, task: int, split: StreamSplit) -> np.ndarray:
        classes = self.classes(task)
        labels = self._source_set(split)[1].cpu().numpy()
        return np.flatnonzero((labels >= classes.start) & (labels < classes.stop))

    def _source_set(self, split: StreamSplit) -> LabelledImages:
        if split == "train":
            return self.source.train_set
        return self.source.validation_set if split == "val" else self.source.test_set

    def _check_trainer(self, trainer: Trainer) -> None:
        if trainer.world_size != 1:
            raise UserError(f"a stream is seen by one process, not by {trainer.world_size}: use --trainer.devices 1.")
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # one batch
            return
        if trainer.max_epochs != self.num_tasks:
            raise UserError(
                f"the stream has {self.num_tasks} tasks and the trainer runs {trainer.max_epochs} epochs, but epoch t "
                f"is task t: use --trainer.max_epochs {self.num_tasks} or --data.tasks {trainer.max_epochs}."
            )
        if trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]
            raise UserError(
                "every epoch of a stream is another task, so batches must be fetched anew: "
                "use --trainer.reload_dataloaders_every_n_epochs 1."
            )
        # Lightning would start the next epoch when such a run is resumed
        for name, whole in (("max_steps", -1), ("limit_train_batches", 1.0), ("overfit_batches", 0.0)):
            if (value := getattr(trainer, name)) != whole:
                raise UserError(
                    f"{name} is {value} and would end tasks before their last minibatch: "
                    "leave it out, and choose samples_per_task."
                )
