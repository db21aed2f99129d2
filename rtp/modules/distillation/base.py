"""What every LightningModule that learns a memory has in common: its outer loop, seeds and checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.resumable import ResumableModule
from rtp.modules.memories.base import Memory, MemoryFactory, QueriedBy
from rtp.modules.networks import NetworkFactory
from rtp.utils.distributed import mean_over_ranks


@dataclass(frozen=True)
class MemorySource:
    """The memory file, other than a checkpoint, that a module's memory came from.

    Attributes:
        name: Its name.
        stored_as: Type of the numbers in it.
        storage_bytes: Bytes of the memory in it.
    """

    name: str
    stored_as: str
    storage_bytes: int


class Distillation(ResumableModule, ABC):
    """Learns a memory by descending a loss of it and a batch of real images; a subclass says which loss.

    The memory's tensors are the only trainable parameters.

    Processes that train together draw different numbers, see `ResumableModule`, and average their gradients.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The networks that the memory is learned with.
        augmentation: Applied to recalled and real images with the same choice and parameter (siamese), and image by
            image when networks are retrained.
        optimizer: The outer optimizer; the paper's is SGD with learning rate 0.1 and momentum 0.5 (A.1).

    Attributes:
        queried_by: How the memory has to be addressed.
        memory_source: The file that the memory came from; None for a checkpoint's or a new one.

    Raises:
        UserError: If the memory is addressed in another way.
    """

    queried_by: QueriedBy = "labels"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        augmentation: Augmentation | None = None,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.1, momentum=0.5),
    ) -> None:
        super().__init__()
        self.memory = memory(image_shape, num_classes)
        if self.memory.queried_by != self.queried_by:
            raise UserError(
                f"{type(self).__name__} learns a memory that is addressed by {self.queried_by}, and this one is "
                f"addressed by {self.memory.queried_by}: change model.memory"
            )
        self.network = network
        self.fresh_network(network)  # one that does not suit the images is reported now, not at the first step
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.memory_source: MemorySource | None = None

    def can_test(self, memory: Memory) -> bool:
        """Whether the module has a test for a memory that was stored in a file."""
        return memory.queried_by == self.queried_by

    def use_memory(self, memory: Memory, trained_steps: int, source: MemorySource) -> None:
        """Replace the memory by one from a file.

        Args:
            memory: A memory that `can_test` accepts.
            trained_steps: Outer steps that it was trained for.
            source: The file.
        """
        self.memory = memory
        self.trained_steps = trained_steps
        self.memory_source = source

    @abstractmethod
    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The loss that an outer step descends.

        Args:
            real_images: (n, C, H, W) images of the sampled classes, on the module's device.
            real_labels: (n,) their labels.

        Returns:
            A scalar, differentiable with respect to the memory's parameters.
        """

    def fresh_network(self, architecture: NetworkFactory, num_outputs: int | None = None) -> nn.Module:
        """Build a network with new random weights (line 6) on the module's device.

        Args:
            architecture: Builds it.
            num_outputs: By default the number of classes.
        """
        with self.device:
            return architecture(self.memory.image_shape, num_outputs or self.memory.query_dim)

    @property
    def storage_bytes(self) -> int:
        """Bytes of the memory, of one from a file as they are stored there."""
        return self.memory.storage_bytes if self.memory_source is None else self.memory_source.storage_bytes

    @torch.no_grad()
    def recalled(self) -> LabelledImages:
        """All images (num_classes * r, C, H, W) that the memory recalls by label, class by class, and their labels."""
        classes = torch.arange(self.memory.query_dim, device=self.device)
        return self.memory.recall(classes).flatten(0, 1), classes.repeat_interleave(self.memory.num_slots)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the outer loss of one batch.

        Args:
            batch: Real images (n, C, H, W) and labels (n,) of the sampled classes Y'.
            batch_idx: Number of the batch.

        Raises:
            DivergenceError: If the loss is not finite, in whichever process.
        """
        loss = self.outer_loss(*batch)
        mean = mean_over_ranks(loss)  # all processes see the same one, and so stop together
        if not torch.isfinite(mean):
            raise self.divergence(f"the outer loss is {mean.item()}")
        self.log("train/outer_loss", mean, prog_bar=True, batch_size=len(batch[1]))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the gradient; Lightning clips it after this hook.

        Raises:
            DivergenceError: If the norm is not finite.
        """
        norm = torch.nn.utils.get_total_norm(self._gradients())
        if not torch.isfinite(norm):
            raise self.divergence(f"the norm of the gradient is {norm.item()}")
        self.log("train/gradient_norm", norm)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Do nothing: `RetrainingEvaluation` measures on the whole split. Lightning validates no module without it."""

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """As `validation_step`, on the test set."""

    def predict_step(self, labels: Tensor) -> Tensor:
        """Recall the images of some labels.

        Args:
            labels: (n,) class numbers.

        Returns:
            (n, r, C, H, W) images, preprocessed as the data set's.
        """
        return self.memory.recall(labels)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The outer optimizer, over the memory's parameters."""
        return self.make_optimizer(self.memory.parameters())

    def data(self) -> ImageDataModule:
        """The trainer's data set.

        Raises:
            UserError: If it is not an `ImageDataModule`.
        """
        return image_data(self.trainer, type(self).__name__)

    def _gradients(self) -> Iterator[Tensor]:
        return (p.grad for p in self.memory.parameters() if p.grad is not None)


def image_data(trainer: L.Trainer, user: str) -> ImageDataModule:
    """The data set of a trainer.

    Args:
        trainer: The trainer.
        user: The name of what needs the data, for the message.

    Raises:
        UserError: If it is not an `ImageDataModule`.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, ImageDataModule):
        raise UserError(f"{user} needs an ImageDataModule, got {type(data).__name__}")
    return data
