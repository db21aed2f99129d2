"""What every LightningModule that learns a memory has in common: its outer loop, seeds and checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from rtp.errors import DivergenceError, UserError
from rtp.modules.augmentation import Augmentation
from rtp.modules.memory import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.randomness import derived_seed, seed_generators
from rtp.ranks import mean_over_ranks

SEED_KEY = "rtp_seed"
"""Where a checkpoint holds the seed of its run."""


@dataclass(frozen=True)
class Origin:
    """The file that a module's memory came from, other than a checkpoint.

    Attributes:
        name: Its name.
        stored_as: Type of the numbers in it.
        storage_bytes: Bytes of the memory in it.
    """

    name: str
    stored_as: str
    storage_bytes: int


class Distillation(L.LightningModule, ABC):
    """Learns a memory by descending a loss of it and a batch of real images; a subclass says which loss.

    The memory's tensors are the only trainable parameters.

    What a step draws follows from the run's seed (torch's, when training starts), the number of its batch and that of
    the process: a run that is continued draws what it would have drawn, and processes that train together draw
    different numbers and average their gradients.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The networks that the memory is learned with.
        augmentation: Applied to recalled and real images with the same choice and parameter (siamese), and image by
            image when networks are retrained.
        optimizer: The outer optimizer.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        augmentation: Augmentation | None,
        optimizer: OptimizerCallable,
    ) -> None:
        super().__init__()
        self.memory = memory(image_shape, num_classes)
        self.network = network
        self.fresh_network(network)  # one that does not suit the images is reported now, not at the first step
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.trained_steps = 0
        self.origin: Origin | None = None
        self._seed: int | None = None

    @abstractmethod
    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The loss that an outer step descends.

        Args:
            real_images: (n, C, H, W) images of the sampled classes, on the module's device.
            real_labels: (n,) their labels.

        Returns:
            A scalar, differentiable with respect to the memory's parameters.
        """

    def fresh_network(self, architecture: NetworkFactory) -> nn.Module:
        """Build a network with new random weights (line 6) on the module's device."""
        with self.device:
            return architecture(self.memory.image_shape, self.memory.query_dim)

    def on_train_start(self) -> None:
        """Take the seed of a new run; a continued one has it from its checkpoint."""
        if self._seed is None:
            self._seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what the step draws; `batch_idx` would start from 0 again in every epoch."""
        assert self._seed is not None  # training has started
        seed_generators(derived_seed(self._seed, self.trainer.fit_loop.total_batch_idx, self.global_rank))

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
            raise self._divergence(f"the outer loss is {mean.item()}")
        self.log("train/outer_loss", mean, prog_bar=True, batch_size=len(batch[1]))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the gradient; Lightning clips it after this hook.

        Raises:
            DivergenceError: If the norm is not finite.
        """
        norm = torch.nn.utils.get_total_norm(self._gradients())
        if not torch.isfinite(norm):
            raise self._divergence(f"the norm of the gradient is {norm.item()}")
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the run's seed: no other random state outlives a step."""
        checkpoint[SEED_KEY] = self._seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the run's seed and how long the memory was trained; Lightning restores its counter in `fit` alone.

        Raises:
            UserError: If the checkpoint's memory is of another shape.
        """
        theirs, ours = (_shapes(state) for state in (checkpoint["state_dict"], self.state_dict()))
        if theirs != ours:
            raise UserError(f"the checkpoint holds {theirs}, not {ours}: use the config.yaml of its run")
        self.trained_steps = checkpoint["global_step"]
        self._seed = checkpoint.get(SEED_KEY)  # none in a checkpoint of an older version

    def _gradients(self) -> Iterator[Tensor]:
        return (p.grad for p in self.memory.parameters() if p.grad is not None)

    def _divergence(self, what: str) -> DivergenceError:
        return DivergenceError(
            f"{what} at step {self.global_step}: training stops and the checkpoints written so far are kept; "
            "lower the learning rate of the inner or the outer loop, or clip the gradient"
        )


def _shapes(state: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} of {'x'.join(map(str, tensor.shape))}" for name, tensor in state.items())
