"""The LightningModule that distils disjoint tasks one by one, for classifiers across them (section 5.3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim import SGD

from rtp.class_tasks import check_ways, renumbered, split_classes
from rtp.errors import UserError
from rtp.modules.augmentation import Augmentation
from rtp.modules.distillation import recalled_episode
from rtp.modules.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.memory import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.synthesis import ClassifierSynthesis
from rtp.modules.task_memory import TaskMemories
from rtp.modules.unroll import Episode, Unroll


@dataclass(frozen=True)
class Extrapolation:
    """The test tasks, whose classes were never seen together; `evaluation.networks` says how many.

    Args:
        ways: Classes k of a test task, for each row of the results; validation takes the first alone. The paper has 2
            and 5 (A.3).
        upper_bound_tasks: Tasks that the upper bound is measured on at most, each with a network trained on all real
            images of its classes; the first of the test tasks.
        networks_at_once: Networks whose images, and where they are trained together weights, are in memory at once.

    Raises:
        UserError: If a number is below 1, or `ways` is empty.
    """

    ways: tuple[int, ...] = (5, 2)
    upper_bound_tasks: int = 1000
    networks_at_once: int = 50

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.ways:
            raise UserError("ways is empty: give the classes of a test task, such as [5, 2]")
        for name in ("upper_bound_tasks", "networks_at_once"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


class TaskDistillation(ClassifierSynthesis):
    """Distils each of several disjoint tasks into a memory of its own, "extrapolating between tasks" of section 5.3.1.

    Outer step s distils task s mod T alone: its classes, renumbered 0..k-1, and networks of k outputs. Memories,
    gradients, the norm at which gradients are clipped and the optimizer's momenta of the tasks never meet, so this is
    what T runs of `MemoryDistillation` do, each of them with a T-th of the steps.

    Gradients cannot be accumulated, as two batches in a row are of different tasks.

    To train in several processes, give `--trainer.strategy ddp_find_unused_parameters_true`: a step leaves the other
    tasks' memories alone.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory of one task.
        network: The network to train in the inner loop, with an output for each class of a task.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch; all of them where there are fewer.
        classes_per_task: Classes of a task; 5 in the paper. Divides the number of classes.
        task_seed: Seed of a random split into tasks; null takes the classes in the order of their labels.
        extrapolation: The test tasks.
        inner_optimizer: The inner loop's update rule.
        augmentation: As in `MemoryDistillation`.
        optimizer: The outer optimizer; the paper's is SGD with learning rate 0.1 and momentum 0.5 (A.1).

    Raises:
        UserError: If the classes cannot be split so, or there are fewer tasks than classes in a test task.
    """

    memory: TaskMemories

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        unroll: Unroll,
        slots_per_class: int,
        classes_per_task: int,
        task_seed: int | None = None,
        extrapolation: Extrapolation = Extrapolation(),  # frozen
        inner_optimizer: InnerOptimizer = InnerSGD(),  # noqa: B008  # frozen
        augmentation: Augmentation | None = None,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.1, momentum=0.5),
    ) -> None:
        tasks = split_classes(num_classes, classes_per_task, task_seed)
        for ways in extrapolation.ways:
            check_ways(ways, len(tasks), "tasks to take a class of each from")

        def memories(shape: tuple[int, int, int], _: int) -> TaskMemories:
            return TaskMemories(shape, tasks, lambda: memory(shape, classes_per_task))

        super().__init__(
            image_shape,
            num_classes,
            memories,
            network,
            unroll,
            slots_per_class,
            inner_optimizer,
            augmentation,
            optimizer,
        )
        self.extrapolation = extrapolation

    def setup(self, stage: str) -> None:
        """Let the outer batches take turns among the tasks.

        Raises:
            UserError: If gradients of several tasks would be accumulated, and so be clipped by one norm.
        """
        if stage == "fit":
            if self.trainer.accumulate_grad_batches != 1:
                raise UserError(
                    f"accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but each outer step is about "
                    "another task: use --trainer.accumulate_grad_batches 1, and more real_images_per_class instead"
                )
            self.data().class_groups = self.memory.tasks

    def configure_callbacks(self) -> Sequence[L.Callback]:
        """Test on tasks across those that were learned, with the settings of the run's `RetrainingEvaluation`."""
        from rtp.callbacks.extrapolation import ExtrapolationEvaluation  # callbacks import modules, not the reverse

        return ExtrapolationEvaluation.in_place_of_retraining(self.trainer)

    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """See `ClassifierSynthesis.episode`; all images are of one task's classes."""
        task = int(self.memory.task_of[real_labels[0]])
        labels = renumbered(real_labels, self.memory.tasks[task])
        episode = recalled_episode(
            self.memory.of_task(task),
            labels.unique(),
            (real_images, labels),
            self.slots_per_class,
            self.unroll.num_steps,
            self.augmentation,
        )
        return episode, len(self.memory.tasks[task])
