"""The LightningModule that distils disjoint class sets in turn (section 5.3.1)."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from rtp.datamodules.class_sets import check_ways, renumbered, split_classes
from rtp.errors import UserError
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.distillation.memory_distillation import recalled_episode
from rtp.modules.memories.base import Memory, MemoryFactory
from rtp.modules.memories.tasks import TaskMemories
from rtp.modules.unroll.base import Episode
from rtp.runs.lightning_internals import finds_unused_parameters
from rtp.utils.checks import check_at_least

TASKS_KEY = "rtp_tasks"
"""Checkpoint key of the classes of each memory."""


@dataclass(frozen=True)
class Extrapolation:
    """The evaluation tasks, whose classes were never seen together; `evaluation.networks` is their number.

    Args:
        ways: Classes k of a task, for each row of the results; validation uses only the first. The paper has 2 and 5
            (A.3).
        upper_bound_tasks: Most evaluation tasks, the first ones, for the upper bound: a network trained on all real
            images of the task's classes.
        chunk_size: Networks whose images and, if vmapped, weights are in memory at the same time.

    Raises:
        UserError: If a number is below 1, or `ways` is empty.
    """

    ways: tuple[int, ...] = (5, 2)
    upper_bound_tasks: int = 1000
    chunk_size: int = 50

    def __post_init__(self) -> None:
        if not self.ways:
            raise UserError("ways is empty: give the classes of an evaluation task, such as [5, 2]")
        check_at_least("upper_bound_tasks", self.upper_bound_tasks, 1)
        check_at_least("chunk_size", self.chunk_size, 1)


class TaskDistillation(ClassifierSynthesis):
    """Distils each of several disjoint class sets ("tasks" in section 5.3.1) into a memory of its own.

    Outer step s distils only class set s mod T: its classes, renumbered 0..k-1, with networks of k outputs. Memories,
    gradients, gradient norms and the optimizer's momenta of the class sets are separate, so this equals T runs of
    `MemoryDistillation`, each with a T-th of the steps.

    As each step learns one class set, gradients cannot be accumulated, several processes need `--trainer.strategy
    ddp_find_unused_parameters_true`, and `--trainer.log_every_n_steps` must share no factor with T, or the curve of the
    outer loss omits some class sets.

    Where the paper is silent: ZCA or the standardisation is fitted on all classes together, and `best.ckpt` keeps the
    step with the best accuracy over all memories, not the best of each.

    Args:
        memory: The memory of one class set.
        *args: As in `UnrolledDistillation`.
        classes_per_task: Classes of a class set, a divisor of the number of classes; 5 in the paper.
        task_seed: Seed of a random split into class sets; null splits in the order of the labels.
        extrapolation: The evaluation tasks.
        **kwargs: As in `UnrolledDistillation`.

    Raises:
        UserError: If the classes cannot be split, or there are fewer class sets than classes in an evaluation task.
    """

    memory: TaskMemories

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        *args: Any,
        classes_per_task: int,
        task_seed: int | None = None,
        extrapolation: Extrapolation = Extrapolation(),  # frozen
        **kwargs: Any,
    ) -> None:
        tasks = split_classes(num_classes, classes_per_task, task_seed)
        for ways in extrapolation.ways:
            check_ways(ways, len(tasks), "class sets to take a class of each from")

        def memories(shape: tuple[int, int, int], _: int) -> TaskMemories:
            return TaskMemories(shape, tasks, lambda: memory(shape, classes_per_task))

        super().__init__(image_shape, num_classes, memories, *args, **kwargs)
        self.extrapolation = extrapolation

    def can_test(self, memory: Memory) -> bool:
        """Only memories with one part per task."""
        return super().can_test(memory) and isinstance(memory, TaskMemories)

    def setup(self, stage: str) -> None:
        """Let the outer batches take turns among the class sets.

        Raises:
            UserError: If gradients of several class sets would be accumulated and clipped together, DDP does not look
                for unused parameters, or a class is missing from the evaluated split.
        """
        super().setup(stage)
        data = self.data()
        if stage == "fit":
            if self.trainer.accumulate_grad_batches != 1:
                raise UserError(
                    f"accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but each outer step is about "
                    "another task: use --trainer.accumulate_grad_batches 1, and more real_images_per_class instead"
                )
            strategy = self.trainer.strategy
            # DDP itself fails only after the first step, with a long traceback
            if isinstance(strategy, DDPStrategy) and not finds_unused_parameters(strategy):
                raise UserError(
                    "each outer step is about one task and leaves the memories of the others alone, which several "
                    "processes have to be told: use --trainer.strategy ddp_find_unused_parameters_true"
                )
            data.class_groups = self.memory.tasks
        split, (_, labels) = ("test", data.test_set) if stage == "test" else ("validation", data.validation_set)
        counts = labels.bincount(minlength=data.num_classes)
        if not counts.all():
            missing = data.class_names[int(counts.argmin())]
            raise UserError(
                f"the {split} split has no image of class {missing}: evaluation tasks take any class, add some"
            )

    def teardown(self, stage: str) -> None:
        """Reset the data set's class groups for another module."""
        if stage == "fit":
            self.data().class_groups = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the seed, the number of steps and the classes of each memory."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[TASKS_KEY] = self.memory.tasks

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `ResumableModule.on_load_checkpoint`.

        Raises:
            UserError: If the checkpoint's memories are of other classes.
        """
        super().on_load_checkpoint(checkpoint)
        for number, (theirs, ours) in enumerate(zip(checkpoint[TASKS_KEY], self.memory.tasks, strict=True)):
            if theirs != ours:
                raise UserError(
                    f"memory {number} of the checkpoint is of the classes {list(theirs)}, not {list(ours)}: "
                    "leave out --model.task_seed, or use that of its run"
                )

    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """See `ClassifierSynthesis.episode`; all images are of one class set."""
        task = int(self.memory.task_of[real_labels[0]])
        labels = renumbered(real_labels, self.memory.tasks[task])
        settings = self.slots_per_class, self.current_unroll.num_steps, self.augmentation
        episode = recalled_episode(self.memory.of_task(task), labels.unique(), (real_images, labels), *settings)
        return episode, len(self.memory.tasks[task])
