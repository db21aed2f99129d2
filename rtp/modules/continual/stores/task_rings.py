"""Episodic memory: the last samples of each task."""

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.continual.stores.base import SampleBits, SampleStore


class TaskRings(SampleStore):
    """A ring for each task of a stream, in which a new sample takes the place of the task's oldest.

    As in GEM (Lopez-Paz and Ranzato, NeurIPS 2017). All state is in buffers of fixed shape, and so in checkpoints.

    Args:
        capacity: Samples in all; a task has `capacity // num_tasks` places.
        num_tasks: T, at least 1.
        image_shape: (C, H, W) of a sample.
        bits: See `SampleStore`.

    Raises:
        UserError: If there is less than one place for each task.
    """

    integers_per_sample = 1  # the label; the task is that of the ring

    def __init__(self, capacity: int, num_tasks: int, image_shape: tuple[int, int, int], bits: SampleBits = 32) -> None:
        if capacity < num_tasks:
            raise UserError(
                f"memory_images holds {capacity} images, less than one for each of {num_tasks} tasks: raise it"
            )
        super().__init__((num_tasks, capacity // num_tasks), image_shape, bits)
        self.register_buffer("_counts", torch.zeros(num_tasks, dtype=torch.int64))  # samples seen of each task

    def __len__(self) -> int:
        return int(self._held.sum())

    @torch.no_grad()
    def add(self, batch: StreamBatch) -> None:
        """Overwrite the oldest samples of the minibatch's task."""
        places = self.labels.shape[1]
        images, labels = batch.images[-places:], batch.labels[-places:]
        end = self._counts[batch.task] + len(batch.labels)
        where = torch.arange(-len(labels), 0, device=end.device).add(end).remainder(places)
        self.write_images((batch.task, where), images)
        self.labels[batch.task, where] = labels
        self._counts[batch.task] = end

    def content(self, task: int) -> tuple[Tensor, Tensor]:
        """All images (m, C, H, W) and labels (m,) held of a task."""
        held = int(self._held[task])
        return self.images_at((task, slice(held))), self.labels[task, :held]

    def sample(self, n: int, before: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw m = min(n, held) of the samples of the tasks before one, uniformly and without replacement.

        Returns:
            Images (m, C, H, W), labels (m,) and tasks (m,).
        """
        tasks, places = torch.nonzero(
            torch.arange(self.labels.shape[1], device=self.labels.device) < self._held[:before, None], as_tuple=True
        )
        chosen = torch.randperm(len(tasks))[:n].to(tasks.device)
        tasks, places = tasks[chosen], places[chosen]
        return self.images_at((tasks, places)), self.labels[tasks, places], tasks

    @property
    def _held(self) -> Tensor:
        return self._counts.clamp_max(self.labels.shape[1])
