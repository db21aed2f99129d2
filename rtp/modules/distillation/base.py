"""The base of LightningModules that learn a memory: the outer loop, checked for NaN and infinity."""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.resumable import ResumableModule
from rtp.modules.memories.base import Memory, MemoryFactory, QueriedBy
from rtp.modules.memories.number_formats import SINGLE_BITS
from rtp.modules.networks import NetworkFactory
from rtp.utils.checks import check_positive
from rtp.utils.distributed import mean_over_ranks

log = logging.getLogger(__name__)

NORM_DECAY = 0.9
"""Of the average of the gradient's norm, as in RaT-BPTT's code."""
NORM_KEY = "rtp_average_norm"
"""Where a checkpoint holds it."""


@dataclass(frozen=True)
class MemorySource:
    """The memory file, other than a checkpoint, of a module's memory, with its number type and the memory's bytes."""

    name: str
    stored_as: str
    storage_bytes: int


class Distillation(ResumableModule, ABC):
    """Learns a memory by descending a subclass's loss on batches of real images.

    The memory's tensors are the only trainable parameters. The processes of a run draw different random numbers, see
    `ResumableModule`, and average their gradients.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The networks that the memory is learned with.
        augmentation: Applied to recalled and real images with the same choice and parameter (siamese), and image by
            image when networks are retrained.
        optimizer: The outer optimizer; the paper's is SGD with learning rate 0.1 and momentum 0.5 (A.1).
        lr_scheduler: Schedule of its learning rate over outer steps, such as torch's CosineAnnealingLR; by default, as
            in the paper, none.
        clip_factor: Positive; clips the gradient's norm at this multiple of its own moving average, taken before
            clipping and with decay 0.9: 2 in RaT-BPTT (Feng et al., ICLR 2024, code). It replaces
            `trainer.gradient_clip_val`, which holds by default (2 in the authors' code).

    Raises:
        UserError: If the memory is not addressed by what `queried_by` says or learns a rate that the loss does not
            depend on, or `clip_factor` is not positive.
    """

    queried_by: QueriedBy = "labels"
    learns_rate: bool = False
    """Whether the loss depends on the memory's `rate_factor`."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        augmentation: Augmentation | None = None,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.1, momentum=0.5),
        lr_scheduler: LRSchedulerCallable | None = None,
        clip_factor: float | None = None,
    ) -> None:
        super().__init__()
        self.memory = memory(image_shape, num_classes)
        if self.memory.queried_by != self.queried_by:
            raise UserError(
                f"{type(self).__name__} learns a memory that is addressed by {self.queried_by}, and this one is "
                f"addressed by {self.memory.queried_by}: change model.memory"
            )
        if self.memory.rate_factor is not None and not self.learns_rate:
            raise UserError(f"{type(self).__name__} does not learn a rate: leave memory.learned_rate out")
        self.network = network
        self.fresh_network(network)  # refuses one that does not suit the images
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        check_positive("clip_factor", clip_factor)
        self.clip_factor = clip_factor
        self._norm = self._average_norm = 0.0  # of the last step's gradient; 0 before the first step
        self.memory_source: MemorySource | None = None  # None for a checkpoint's or a new memory

    def can_test(self, memory: Memory) -> bool:
        """Whether the module can test a memory from a file."""
        return memory.queried_by == self.queried_by

    def use_memory(self, memory: Memory, trained_steps: int, source: MemorySource) -> None:
        """Replace the memory by one that `can_test` accepts, from a file, trained for `trained_steps` outer steps."""
        self.memory, self.trained_steps, self.memory_source = memory, trained_steps, source

    @abstractmethod
    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The scalar loss that an outer step descends, differentiable with respect to the memory's parameters.

        The real images (n, C, H, W) with labels (n,) are of the sampled classes and on the module's device.
        """

    def fresh_network(self, architecture: NetworkFactory, num_outputs: int | None = None) -> nn.Module:
        """Build a network with random weights (line 6) on the module's device; one output per class by default."""
        with self.device:
            return architecture(self.memory.image_shape, num_outputs or self.memory.query_dim)

    @property
    def storage_bytes(self) -> int:
        """Bytes of the memory; of one from a file, those in the file."""
        return self.memory.storage_bytes if self.memory_source is None else self.memory_source.storage_bytes

    @property
    def budget_floats(self) -> int:
        """The memory's storage in the unit of equation 4, numbers of 32 bits; rounded up."""
        return -(-8 * self.storage_bytes // SINGLE_BITS)

    @torch.no_grad()
    def recalled(self) -> LabelledImages:
        """All images (num_classes * r, C, H, W) recalled by label, class by class, and their labels."""
        classes = torch.arange(self.memory.query_dim, device=self.device)
        return self.memory.recall(classes).flatten(0, 1), classes.repeat_interleave(self.memory.num_slots)

    def on_fit_start(self) -> None:
        """Start the memory of a new run from data, if it asks for it; warn of a budget above the data's size."""
        data = getattr(self.trainer, "datamodule", None)
        if self.memory.starts_from_data and self.is_new:
            self.memory.start_from(self.data().images_of)
        if isinstance(data, ImageDataModule) and self.memory.storage_floats >= data.num_floats:
            log.warning(
                "the memory has %s numbers and %s only %s: lower images_per_class to distil",
                *(f"{self.memory.storage_floats:,}", data.name, f"{data.num_floats:,}"),
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step, and begin to round the memory's numbers after its `float_steps`."""
        super().on_train_batch_start(batch, batch_idx)
        for memory in self.memory.modules():  # that of each task, too
            if isinstance(memory, Memory):
                memory.rounds_in_training = self._steps_done >= memory.float_steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the outer loss of a batch: real images (n, C, H, W) and labels (n,) of the sampled classes Y'.

        Raises:
            DivergenceError: If the loss is NaN or infinite in any process.
        """
        loss = self.outer_loss(*batch)
        mean = mean_over_ranks(loss)  # the same in all processes, so all stop
        if not torch.isfinite(mean):
            raise self.divergence(f"the outer loss is {mean.item()}")
        self.log("train/outer_loss", mean, prog_bar=True, batch_size=len(batch[1]))
        if (factor := self.memory.rate_factor) is not None:
            self.log("train/rate_factor", factor.detach(), batch_size=len(batch[1]))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the gradient; Lightning clips it after this hook.

        Raises:
            DivergenceError: If the norm is not finite.
        """
        norm = torch.nn.utils.get_total_norm(p.grad for p in self.memory.parameters() if p.grad is not None)
        if not torch.isfinite(norm):
            raise self.divergence(f"the norm of the gradient is {norm.item()}")
        self.log("train/gradient_norm", norm)
        self._norm = float(norm)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by `clip_factor`, or as the Trainer's options say."""
        if self.clip_factor is None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        before = self._average_norm or self._norm
        torch.nn.utils.clip_grad_norm_(self.memory.parameters(), self.clip_factor * before)
        self._average_norm = NORM_DECAY * before + (1 - NORM_DECAY) * self._norm

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what `ResumableModule` does, and the average norm of the gradient."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[NORM_KEY] = self._average_norm

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `ResumableModule.on_load_checkpoint`."""
        super().on_load_checkpoint(checkpoint)
        self._average_norm = checkpoint.get(NORM_KEY, 0.0)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Do nothing: `RetrainingEvaluation` measures on the whole split, but Lightning requires the hook."""

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Do nothing, as `validation_step`."""

    def predict_step(self, labels: Tensor) -> Tensor:
        """Recall images (n, r, C, H, W), preprocessed as the data set's, of labels (n,)."""
        return self.memory.recall(labels)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The outer optimizer of the memory's parameters, and the schedule of its learning rate."""
        optimizer = self.make_optimizer(self.memory.parameters())
        if self.make_lr_scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"},
        }

    def data(self) -> ImageDataModule:
        """The trainer's data set, see `image_data`."""
        return image_data(self.trainer, type(self).__name__)


def image_data(trainer: L.Trainer, user: str) -> ImageDataModule:
    """The data set of a trainer; UserError, naming its `user`, if it is not an `ImageDataModule`."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, ImageDataModule):
        raise UserError(f"{user} needs an ImageDataModule, got {type(data).__name__}")
    return data
