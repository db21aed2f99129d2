"""The upper bound: a network trained on all tasks together."""

import math
from typing import Any

import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch, TaskStream
from rtp.modules.continual.single_network import SingleNetworkLearner
from rtp.modules.continual.stores.base import INTEGER_BYTES
from rtp.utils.checks import check_positive


class Multitask(SingleNetworkLearner):
    """Trains a fresh network, at the end of each task, on all training samples of the tasks so far, shuffled.

    It is no continual learner: it makes several passes, and reads all samples again, as if it had stored them. It has
    no budget, and `storage_bytes` and `other_bytes` are what storing them with labels and tasks would take.

    Args:
        passes: Passes over all samples so far, at least 1.
        batch_size: Samples in a minibatch of these, at least 1.
        **kwargs: As in `SingleNetworkLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    samples: Tensor

    def __init__(self, passes: int, batch_size: int, **kwargs: Any) -> None:
        check_positive("passes", passes)
        check_positive("batch_size", batch_size)
        super().__init__(memory_images=0, **kwargs)
        self.passes = passes
        self.batch_size = batch_size
        self.register_buffer("samples", torch.tensor(0))

    @property
    def storage_bytes(self) -> int:
        """Bytes of all samples of the stream so far."""
        return int(self.samples) * self.image_bytes

    @property
    def storage_floats(self) -> int:
        """Numbers of all these samples."""
        return int(self.samples) * math.prod(self.image_shape)

    @property
    def budget_bytes(self) -> int:
        """`storage_bytes`: there is no limit."""
        return self.storage_bytes

    @property
    def other_bytes(self) -> int:
        """See `ContinualLearner.other_bytes`; with a label and a task for each sample."""
        return super().other_bytes + int(self.samples) * 2 * INTEGER_BYTES

    def learn(self, batch: StreamBatch) -> None:
        """Count samples; they are learned at the end of the task."""
        if batch.replay == 0:
            self.samples += len(batch.labels)

    def end_task(self, task: int) -> None:
        """Train a fresh network on all tasks so far."""
        stream = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(stream, TaskStream)
        sets = [stream.task_set(number, "train") for number in range(task + 1)]
        images, labels = (torch.cat(parts) for parts in zip(*sets, strict=True))
        tasks = torch.cat([torch.full_like(labels, number) for number, (_, labels) in enumerate(sets)])
        self.net.load_state_dict(self.fresh_network(self.total_classes).state_dict())
        for _ in range(self.passes):
            for chosen in torch.randperm(len(labels)).to(labels.device).split(self.batch_size):
                self.step(self.gradient(self.loss(images[chosen], labels[chosen], tasks[chosen])))
