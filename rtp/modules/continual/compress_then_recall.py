"""Compress, then recall: a memory for each task of a stream, in a storage budget for all of them (section 5.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.continual.base import Classifier, ContinualLearner
from rtp.modules.continual.stores.base import SampleBits, tensor_bytes
from rtp.modules.continual.stores.reservoir import Reservoir
from rtp.modules.distillation.base import MemorySource
from rtp.modules.distillation.memory_distillation import recalled_episode
from rtp.modules.memories.base import Memory
from rtp.modules.memories.number_formats import rounded
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.base import Unroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.utils.averages import moving_average
from rtp.utils.checks import check_at_least, check_in, check_positive
from rtp.utils.seeds import derived_seed

TaskMemoryFactory = Callable[[tuple[int, int, int], int, float], Memory]
"""Builds a task's memory from (image_shape, num_classes, images_per_class); in YAML, a class path with the rest."""


class CompressThenRecall(ContinualLearner):
    """Distils each task of a stream into a memory of its own, and trains networks from the memories afterwards.

    During task t, raw samples of it fill a reservoir in the part of the budget that the stored memories leave (B.2).
    Each time that a minibatch is seen, there is one outer step: recall the images of all classes, train a fresh network
    on them for T inner steps, and descend its loss on the minibatch and some samples from the reservoir (equation 3;
    "distillation with both buffer samples and streamed samples"). The minibatch enters the reservoir after the first of
    these steps. When the task ends, the memory is stored in 1/T of the budget, the raw samples are dropped, and memory
    and outer optimizer start afresh.

    The memory being learned is working state, like the weights of a network in training: B.2 counts the raw samples, in
    1 - (t-1)/T of the budget for task t from 1, and the memories stored "after the learning on one task is finished".

    The number of inner steps and of samples drawn from the reservoir is not published.

    Deviations from the paper, all off by default. With `init: data` a memory starts from the first samples of its
    task, see `Memory.add_to_start`: each minibatch is added to the memory itself, so that they need no other storage.
    With `average` the memory that is stored is an average over the outer steps of its task. With `sample_bits` 8 the
    reservoir holds four times as many images, and with the memory's `stored_as` its numbers are shorter too.

    Args:
        memory: A task's memory, whose budget is 1/T of `memory_images`, which is
            memory_images / (num_tasks * num_classes) images a class.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch; at most as many as the memory has.
        reservoir_samples: Raw samples drawn from the reservoir for an outer step, at least 0.
        inner_optimizer: The inner loop's update rule.
        augmentation: Applied with one choice and one parameter to recalled and real images of an outer step
            (siamese), and image by image when networks are trained from recalled images.
        optimizer: The outer optimizer; the paper's is SGD with learning rate 0.1 and momentum 0.5 (A.2).
        start_samples: Samples of a task that its memory starts from before the first outer step, with `init: data` at
            least 1, otherwise 0.
        sample_bits: Bits of the numbers of the reservoir's images: 32, as in the paper, or 8, in which four times as
            many images fit, see `SampleStore`.
        average: Decay d in (0, 1) of an average phi_bar <- d phi_bar + (1 - d) phi of the memory after each outer step,
            with n / (n + 10) for d in step n as long as it is smaller; null stores the last memory.
        gradient_clip: Largest norm of the outer gradient, positive; null for any.
        networks: Networks trained on a task's recalled images to measure it, at least 1.
        protocol: How they are trained; "the same setups as the inner loop optimization" (A.2).
        seed: Seed of these networks.
        **kwargs: As in `ContinualLearner`. Each task has its own networks, for the inner loop and for its recalled
            images. `memory_images` is 200 for 20 tasks in table 5.

    Attributes:
        memory: The memory being learned.
        stored: A memory for each task; those of unfinished tasks mean nothing.
        reservoir: Raw samples of the present task.

    Raises:
        UserError: If an argument is out of its range, a task's share of the budget holds no memory, or the memory has
            `learned_rate` or `float_steps`.
    """

    keeps_changing = False
    held: Tensor

    def __init__(
        self,
        memory: TaskMemoryFactory,
        unroll: Unroll,
        slots_per_class: int,
        reservoir_samples: int,
        inner_optimizer: InnerOptimizer = InnerSGD(),  # noqa: B008  # frozen
        augmentation: Augmentation | None = None,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.1, momentum=0.5),
        start_samples: int = 0,
        sample_bits: SampleBits = 32,
        average: float | None = None,
        gradient_clip: float | None = None,
        networks: int = 1,
        protocol: TrainingProtocol = TrainingProtocol(),  # noqa: B008  # frozen
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least("slots_per_class", slots_per_class, 1)
        check_at_least("reservoir_samples", reservoir_samples, 0)
        check_at_least("networks", networks, 1)
        check_at_least("start_samples", start_samples, 0)
        check_in("average", average, "(0, 1)")
        check_positive("gradient_clip", gradient_clip)
        self.fresh_network(self.num_classes)  # refuses one that does not suit the images before the first step
        self.make_memory = memory
        self.memory = self._fresh_memory()
        if self.memory.starts_from_data != bool(start_samples):
            raise UserError(
                "init is data, but start_samples is 0: set model.start_samples, the samples of a task to start from"
                if self.memory.starts_from_data
                else f"start_samples={start_samples} are for a start from data: set model.memory.init to data"
            )
        if self.memory.float_steps:
            raise UserError("a stream's memories are rounded from the first step on: leave memory.float_steps out")
        if self.memory.rate_factor is not None:
            raise UserError("a stream's networks are trained at one rate: leave memory.learned_rate out")
        self.stored = nn.ModuleList(self._fresh_memory() for _ in range(self.num_tasks)).requires_grad_(False)
        self.reservoir = Reservoir(self.num_places(sample_bits), self.image_shape, sample_bits)
        if start_samples:
            self.register_buffer("held", torch.zeros(self.num_classes, dtype=torch.int64))
        self.averaged = None
        if average is not None:
            self.averaged = AveragedModel(self.memory, avg_fn=moving_average(average)).requires_grad_(False)
        self.unroll = unroll
        self.slots_per_class = slots_per_class
        self.reservoir_samples = reservoir_samples
        self.inner_optimizer = inner_optimizer
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.start_samples = start_samples
        self.gradient_clip = gradient_clip
        self.networks = networks
        self.protocol = protocol
        self.seed = seed
        self._optimizer_state: Mapping[Any, dict[str, Any]] = {}  # of the last step; the optimizer saves it

    @property
    def needs_task(self) -> bool:
        """True on every stream, those with a shared head too: an image's task picks the memory and the networks."""
        return True

    @property
    def storage_bytes(self) -> int:
        """Bytes of the memories of finished tasks and the raw samples of the present one."""
        return int(self.finished_tasks) * self.memory.storage_bytes + self.reservoir.storage_bytes

    @property
    def storage_floats(self) -> int:
        """Numbers of these memories and samples."""
        return int(self.finished_tasks) * self.memory.storage_floats + self.reservoir.storage_floats

    @property
    def other_bytes(self) -> int:
        """Bytes of the memory being learned, of its outer optimizer's state, and of labels and counters."""
        moments = [value for state in self._optimizer_state.values() for value in state.values()]
        memories = tensor_bytes(
            [tensor for memory in self.stored for tensor in (*memory.parameters(), *memory.buffers())]
        )
        return super().other_bytes - memories + tensor_bytes([value for value in moments if isinstance(value, Tensor)])

    # Learning ----------------------------------------------------------------------------------------------------

    def learn(self, batch: StreamBatch) -> None:
        """Take one outer step, or add to the start of the memory; see `ContinualLearner.learn`.

        Raises:
            DivergenceError: If the loss or the norm of its gradient is not finite.
        """
        if self.reservoir.seen >= self.start_samples:
            self._outer_step(batch)
        elif batch.replay == 0:
            self.held = self.memory.add_to_start(batch.images, batch.labels, self.held)
        if batch.replay == 0:
            self.reservoir.add(batch.images, batch.labels, batch.task)

    def _outer_step(self, batch: StreamBatch) -> None:
        optimizer = self._optimizer()
        loss = self.outer_loss(batch)
        self.check_finite("the outer loss", loss)
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = torch.nn.utils.get_total_norm(p.grad for p in self.memory.parameters() if p.grad is not None)
        self.check_finite("the norm of the gradient", norm)
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.memory.parameters(), self.gradient_clip)
        optimizer.step()
        self._optimizer_state = optimizer.state
        self.log("train/outer_loss", loss.detach(), prog_bar=True, batch_size=len(batch.labels))
        self.log("train/gradient_norm", norm, batch_size=len(batch.labels))
        if self.averaged is not None:
            self.averaged.update_parameters(self.memory)

    def outer_loss(self, batch: StreamBatch) -> Tensor:
        """The meta-loss J (equation 3) on a minibatch and a draw from the reservoir, a differentiable scalar."""
        images, labels, _ = self.reservoir.sample(self.reservoir_samples)
        real = torch.cat([batch.images, images]), torch.cat([batch.labels, labels])
        classes = torch.arange(self.num_classes, device=self.device)
        sizes = self.slots_per_class, self.unroll.num_steps
        episode = recalled_episode(self.memory, classes, real, *sizes, self.augmentation)
        return self.unroll.meta_loss(self.fresh_network(self.num_classes), self.inner_optimizer, episode)

    def end_task(self, task: int) -> None:
        """Store the memory or its average in its number format, drop the raw samples, and start afresh."""
        memory: nn.Module = self.memory
        if self.averaged is not None and self.averaged.n_averaged > 0:  # a task may end before its first outer step
            memory = self.averaged.module
            self.averaged.n_averaged.zero_()
        numbers = {name: rounded(tensor, self.memory.stored_as) for name, tensor in memory.state_dict().items()}
        self.stored[task].load_state_dict(numbers)
        self.memory.load_state_dict(self._fresh_memory().state_dict())
        if self.start_samples:
            self.held.zero_()
        self._optimizer().state.clear()
        self.reservoir.clear()
        left = self.budget_bytes - (task + 1) * self.memory.storage_bytes
        self.reservoir.shrink(min(self.reservoir.capacity, left // self.reservoir.bytes_per_sample))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The outer optimizer, over the parameters of the memory being learned."""
        return self.make_optimizer(self.memory.parameters())

    # Recall ------------------------------------------------------------------------------------------------------

    def use_memories(self, memories: Sequence[Memory], trained_steps: int, source: MemorySource) -> None:
        """Take the memories of the first tasks, from a file, as those of all finished tasks.

        Args:
            memories: At most `num_tasks`, each of `num_classes` classes.
            trained_steps: Outer steps that they were trained for together.
            source: The file.

        Raises:
            UserError: If a memory takes another storage than those that the learner stores.
        """
        ours = self.memory.storage_floats
        for task, memory in enumerate(memories):
            if memory.storage_floats != ours:
                raise UserError(
                    f"the memory of task {task} takes {memory.storage_floats:,} floats, and this learner stores "
                    f"{ours:,} a task: leave out --config and --model, as the file says how it is tested"
                )
            self.stored[task] = memory.to(self.device).requires_grad_(False)
        self.finished_tasks.fill_(len(memories))
        self.trained_steps, self.memory_source = trained_steps, source

    @torch.no_grad()
    def recalled(self, task: int) -> tuple[Tensor, Tensor]:
        """All images (num_classes * r, C, H, W) that a finished task's memory recalls, class by class, and labels."""
        memory = self.stored[task]
        assert isinstance(memory, Memory)
        classes = torch.arange(self.num_classes, device=self.device)
        return memory.recall(classes).flatten(0, 1), classes.repeat_interleave(memory.num_slots)

    def classifiers(self, task: int) -> list[Classifier]:
        """Train `networks` fresh networks on what a finished task's memory recalls.

        Every call returns the same networks, as their random numbers follow from `seed`.
        """
        images, labels = self.recalled(task)
        seeds = [derived_seed(self.seed, task, number) for number in range(self.networks)]
        return [*self.trained_networks(images, labels, self.num_classes, seeds, self.protocol, self.augmentation)]

    @torch.no_grad()
    def predict(self, images: Tensor, task: int) -> Tensor:
        """Classify by the first of the `classifiers`, which every call trains; see `ContinualLearner.predict`."""
        return self.classifiers(task)[0](images)

    def _fresh_memory(self) -> Memory:
        images_per_class = self.memory_images / (self.num_tasks * self.num_classes)
        try:
            return self.make_memory(self.image_shape, self.num_classes, images_per_class)
        except UserError as error:
            raise UserError(
                f"memory_images={self.memory_images} for {self.num_tasks} tasks of {self.num_classes} classes is "
                f"images_per_class={images_per_class:g} in a task's memory, and {error}"
            ) from error

    def _optimizer(self) -> LightningOptimizer:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer
