"""Incremental classes: each task has other classes of the data set."""

from typing import Any

from torch import Tensor

from rtp.datamodules.sampling import Description
from rtp.datamodules.streams.base import TaskStream
from rtp.errors import UserError
from rtp.utils.checks import check_at_least


class IncrementalClasses(TaskStream):
    """The classes of a data set, a few a task, in the order of their numbers; images stay as they are.

    Incremental CIFAR100 (Lopez-Paz and Ranzato, NeurIPS 2017; section 5.2): "20 5-way classification tasks". A single
    network for all tasks has an output for each class of each task.

    Args:
        classes_per_task: Classes of one task, at least 2; 5 in the paper.
        kwargs: The arguments of `TaskStream`.

    Raises:
        UserError: If an argument is out of its range.
    """

    kind = "incremental"

    def __init__(self, *, classes_per_task: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_at_least("classes_per_task", classes_per_task, 2)
        self.classes_per_task = classes_per_task

    @property
    def num_classes(self) -> int:
        """Classes of one task."""
        return self.classes_per_task

    @property
    def total_classes(self) -> int:
        """Classes of all tasks together."""
        return self.num_tasks * self.classes_per_task

    def classes(self, task: int) -> range:
        """See `TaskStream.classes`."""
        return range(task * self.classes_per_task, (task + 1) * self.classes_per_task)

    def description(self) -> Description:
        """See `TaskStream.description`."""
        return super().description() | {"classes_per_task": self.classes_per_task}

    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        """See `TaskStream.transformed`."""
        return pixels

    def setup(self, stage: str | None = None) -> None:
        """See `TaskStream.setup`; raise UserError also if the data set has too few classes."""
        there = self.source.num_classes
        if self.total_classes > there:
            raise UserError(
                f"{self.num_tasks} tasks of {self.classes_per_task} classes need {self.total_classes} classes, but "
                f"{self.source.name} has {there}: use tasks <= {there // self.classes_per_task} or fewer "
                "classes_per_task."
            )
        super().setup(stage)
