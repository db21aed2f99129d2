"""The LightningModule that learns a memory by back-propagation through training (algorithm 1)."""

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
from rtp.modules.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.memory import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll import Episode, Unroll, draw_minibatches
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


class MemoryDistillation(L.LightningModule):
    """Distils a data set into a memory, "back-propagation through time" of section 4.2.

    The memory's tensors are the only trainable parameters. Each outer step recalls images for the labels of the
    batch, trains a fresh network on them for T inner steps, and follows the gradient of that network's loss on the
    batch's real images.

    What a step draws follows from the run's seed (torch's, when training starts), the number of its batch and that of
    the process: a run that is continued draws what it would have drawn, and processes that train together draw
    different networks, minibatches and augmentations and average their gradients.

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
        self.origin: Origin | None = None
        self._seed: int | None = None

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
        """Compute the meta-loss J (lines 5 to 15) of one batch.

        Args:
            batch: Real images (n, C, H, W) and labels (n,) of the sampled classes Y'.
            batch_idx: Number of the batch.

        Raises:
            DivergenceError: If the loss is not finite, in whichever process.
        """
        loss = self.unroll.meta_loss(self.fresh_network(self.network), self.inner_optimizer, self._episode(*batch))
        mean = mean_over_ranks(loss)  # all processes see the same one, and so stop together
        if not torch.isfinite(mean):
            raise self._divergence(f"the meta-loss is {mean.item()}")
        self.log("train/meta_loss", mean, prog_bar=True, batch_size=len(batch[1]))
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


def _shapes(state: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} of {'x'.join(map(str, tensor.shape))}" for name, tensor in state.items())
