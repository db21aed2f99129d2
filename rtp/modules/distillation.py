"""The LightningModule that learns a memory by back-propagation through training (algorithm 1)."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from rtp.errors import DivergenceError, UserError
from rtp.modules.augmentation import Augmentation
from rtp.modules.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.memory import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll import Episode, Unroll, draw_minibatches


class MemoryDistillation(L.LightningModule):
    """Distils a data set into a memory, "back-propagation through time" of section 4.2.

    The memory's tensors are the only trainable parameters. Each outer step recalls images for the labels of the
    batch, trains a fresh network on them for T inner steps, and follows the gradient of that network's loss on the
    batch's real images.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The network to train in the inner loop.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch; at most as many as the memory has.
        inner_optimizer: The inner loop's update rule.
        augmentation: Applied with one choice and one parameter to recalled and real images of an outer step
            (siamese), and image by image when networks are retrained.
        optimizer: The outer optimizer; the paper's is SGD with learning rate 0.1 and momentum 0.5 (A.1).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        unroll: Unroll,
        slots_per_class: int,
        inner_optimizer: InnerOptimizer = InnerSGD(),  # noqa: B008  # frozen
        augmentation: Augmentation | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.5),
    ) -> None:
        super().__init__()
        if slots_per_class < 1:
            raise UserError(f"slots_per_class must be at least 1, got {slots_per_class}")
        self.memory = memory(image_shape, num_classes)
        self.network = network
        self.fresh_network(network)  # one that does not suit the images is reported now, not at the first step
        self.unroll = unroll
        self.slots_per_class = slots_per_class
        self.inner_optimizer = inner_optimizer
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.trained_steps = 0

    def fresh_network(self, architecture: NetworkFactory) -> nn.Module:
        """Build a network with new random weights (line 6) on the module's device."""
        with self.device:
            return architecture(self.memory.image_shape, self.memory.query_dim)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the meta-loss J (lines 5 to 15) of one batch.

        Args:
            batch: Real images (n, C, H, W) and labels (n,) of the sampled classes Y'.
            batch_idx: Number of the batch.

        Raises:
            DivergenceError: If the loss is not finite.
        """
        loss = self.unroll.meta_loss(self.fresh_network(self.network), self.inner_optimizer, self._episode(*batch))
        if not torch.isfinite(loss):
            raise self._divergence(f"the meta-loss is {loss.item()}")
        self.log("train/meta_loss", loss, prog_bar=True, batch_size=len(batch[1]))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the meta-gradient; Lightning clips it after this hook.

        Raises:
            DivergenceError: If the norm is not finite.
        """
        norm = torch.nn.utils.get_total_norm(self._gradients())
        if not torch.isfinite(norm):
            raise self._divergence(f"the norm of the meta-gradient is {norm.item()}")
        self.log("train/gradient_norm", norm)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Nothing by itself: networks are retrained and measured on the batches by `RetrainingEvaluation`."""

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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember how long the memory was trained; Lightning restores its own counter in `fit` alone."""
        self.trained_steps = checkpoint["global_step"]

    def _episode(self, real_images: Tensor, real_labels: Tensor) -> Episode:
        classes = real_labels.unique()
        images = self.memory.recall(classes).flatten(0, 1)
        labels = classes.repeat_interleave(self.memory.num_slots)
        if self.augmentation is not None:
            siamese = self.augmentation.sample(1, device=self.device)
            images = self.augmentation.apply(images, siamese)
            real_images = self.augmentation.apply(real_images, siamese)
        minibatches = draw_minibatches(len(classes), self.memory.num_slots, self.slots_per_class, self.unroll.num_steps)
        return Episode(images, labels, minibatches.to(self.device), real_images, real_labels)

    def _gradients(self) -> Iterator[Tensor]:
        return (p.grad for p in self.memory.parameters() if p.grad is not None)

    def _divergence(self, what: str) -> DivergenceError:
        return DivergenceError(
            f"{what} at step {self.global_step}: training stops and the checkpoints written so far are kept; "
            "lower the learning rate of the inner or the outer loop, or clip the gradient"
        )
