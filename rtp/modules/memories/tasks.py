"""Memories of several tasks, learned separately and addressed as one (section 5.3.1)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from rtp.datamodules.class_sets import ClassSets
from rtp.modules.memories.addressable import SharedBases
from rtp.modules.memories.base import Memory, StoredSizes
from rtp.modules.memories.data_start import ImagesOfClass


def _of_class_set(images_of: ImagesOfClass, classes: Sequence[int], place: int, count: int) -> Tensor:
    return images_of(classes[place], count)


class TaskMemories(Memory):
    """One memory per task, with nothing shared; each label is looked up in the memory of its task.

    The split maps label c to class `place` of task t and, like labels, costs no storage.

    Args:
        image_shape: (C, H, W) of the data set's images.
        tasks: Disjoint class sets of one size that cover all classes.
        memory: Builds the memory of one task, addressed by places 0..k-1; called for each task in turn.
    """

    task_of: Tensor
    place_of: Tensor

    def __init__(self, image_shape: tuple[int, int, int], tasks: ClassSets, memory: Callable[[], Memory]) -> None:
        super().__init__()
        self.tasks = tasks
        self.memories = nn.ModuleList([memory() for _ in tasks])
        self.image_shape = image_shape
        self.query_dim = sum(map(len, tasks))
        self.num_slots = self.of_task(0).num_slots
        self.queried_by = self.of_task(0).queried_by
        self.starts_from_data = self.of_task(0).starts_from_data
        self.stored_as = self.of_task(0).stored_as
        order = torch.tensor(tasks).flatten().argsort()  # position of each label, task by task
        # given by the configuration, so not part of the state; (num_classes,) each
        self.register_buffer("task_of", order // len(tasks[0]), persistent=False)
        self.register_buffer("place_of", order % len(tasks[0]), persistent=False)

    def start_from(self, images_of: ImagesOfClass) -> None:
        """See `Memory.start_from`: each task's memory starts from the images of its own classes."""
        for task, classes in enumerate(self.tasks):
            self.of_task(task).start_from(partial(_of_class_set, images_of, classes))

    def of_task(self, task: int) -> Memory:
        """The memory of one task, whose labels are places 0..k-1."""
        memory = self.memories[task]
        assert isinstance(memory, Memory)
        return memory

    @property
    def bases(self) -> Tensor:
        """The bases of all tasks, (T * K, C, h, w), task by task."""
        return torch.cat([self.of_task(task).bases for task in range(len(self.tasks))])

    def recall_slots(self, labels: Tensor, slots: Tensor) -> Tensor:
        """See `Memory.recall_slots`; each image comes from the memory of its class's task."""
        of_task = self.task_of[labels]
        present = of_task.unique().tolist() or [0]  # no labels: an empty batch of the right shape
        chosen = [(of_task == task).nonzero().flatten() for task in present]
        images = [
            self.of_task(task).recall_slots(self.place_of[labels[index]], slots[index])
            for task, index in zip(present, chosen, strict=True)
        ]
        return torch.cat(images)[torch.cat(chosen).argsort()]

    def recall_queries(self, queries: Tensor) -> Tensor:
        """See `Memory.recall_queries`; equation 2 is linear in y, so the tasks' parts of y add up."""
        self._check_width(queries)
        parts = [
            self.of_task(task).recall_queries(queries[:, torch.tensor(classes, device=queries.device)])
            for task, classes in enumerate(self.tasks)
        ]
        return torch.stack(parts).sum(0)

    def coefficients(self) -> Tensor:
        """Coefficients of every class and slot, (num_classes, r, T * K), 0 for the bases of other tasks."""
        blocks = [self.of_task(task).coefficients() for task in range(len(self.tasks))]  # each (k, r, K)
        by_task = torch.block_diag(*(block.flatten(0, 1) for block in blocks)).unflatten(0, (-1, self.num_slots))
        return by_task[self.task_of * len(self.tasks[0]) + self.place_of]

    @classmethod
    def named_tensors(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `Memory.named_tensors`; concatenates the tasks' tensors, which need the same shapes."""
        of_tasks: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            prefix, _, inner = name.rpartition(".")
            of_tasks.setdefault(prefix, {})[inner] = value
        parts = [SharedBases.named_tensors(of_tasks.get(f"memories.{task}", {})) for task in range(len(of_tasks))]
        tensors = [part for part in parts if part is not None]
        if not tensors or len(tensors) < len(parts):
            return None
        if len({(name, value.shape) for part in tensors for name, value in part.items()}) > len(tensors[0]):
            return None
        return {name: torch.cat([part[name] for part in tensors]) for name in tensors[0]}

    @classmethod
    def tensor_shapes(cls, sizes: StoredSizes, num_bases: int) -> dict[str, tuple[int, ...]]:
        """See `Memory.tensor_shapes`."""
        assert sizes.tasks is not None
        count, ways = len(sizes.tasks), len(sizes.tasks[0])
        per_task = num_bases // count  # with a remainder the shapes differ from the tensors', which are then refused
        addressing = (count * sizes.num_slots, ways, per_task)
        return {"bases": (count * per_task, *sizes.basis_shape), "addressing": addressing}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sizes: StoredSizes) -> Self:
        """See `Memory.from_tensors`."""
        assert sizes.tasks is not None
        parts = zip(*(tensors[name].chunk(len(sizes.tasks)) for name in ("bases", "addressing")), strict=True)
        memories = (SharedBases.from_tensors({"bases": b, "addressing": a}, sizes) for b, a in parts)
        return cls(sizes.image_shape, sizes.tasks, lambda: next(memories))
