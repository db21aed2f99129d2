"""What the two modules of section 5.3 share: classifiers for sets of classes that nobody trained one for."""

from abc import abstractmethod

from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.base import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import isolated_rng
from rtp.modules.unroll.base import Episode, Unroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer


class ClassifierSynthesis(Distillation):
    """Learns a memory from which classifiers for some of the classes are trained: k-way networks in the inner loop.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The network to train in the inner loop; it has an output for each class of a task, not of the data set.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch; all of them where there are fewer.
        inner_optimizer: The inner loop's update rule.
        augmentation: As in `MemoryDistillation`.
        optimizer: The outer optimizer.

    Raises:
        UserError: If `slots_per_class` is below 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        unroll: Unroll,
        slots_per_class: int,
        inner_optimizer: InnerOptimizer,
        augmentation: Augmentation | None,
        optimizer: OptimizerCallable,
    ) -> None:
        if slots_per_class < 1:
            raise UserError(f"slots_per_class must be at least 1, got {slots_per_class}")
        super().__init__(image_shape, num_classes, memory, network, augmentation, optimizer)
        self.unroll = unroll
        self.slots_per_class = slots_per_class
        self.inner_optimizer = inner_optimizer

    @abstractmethod
    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """What the inner loop of an outer step trains on and is judged by.

        Args:
            real_images: (n, C, H, W) real images of the step's classes.
            real_labels: (n,) their labels in the data set.

        Returns:
            The episode, with labels 0..k-1, and k, the outputs of its network.
        """

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The meta-loss J of a k-way network; see `Distillation.outer_loss`."""
        episode, ways = self.episode(real_images, real_labels)
        return self.unroll.meta_loss(self.fresh_classifier(self.network, ways), self.inner_optimizer, episode)

    def fresh_classifier(self, architecture: NetworkFactory, ways: int) -> nn.Module:
        """Build a network of `ways` outputs with new random weights on the module's device."""
        with self.device:
            return architecture(self.memory.image_shape, ways)

    def architecture_name(self, architecture: NetworkFactory) -> str:
        """The class of the networks that an architecture makes."""
        with isolated_rng(0):  # to make one is to draw its weights
            return type(self.fresh_classifier(architecture, 2)).__name__

    def data(self) -> ImageDataModule:
        """The trainer's data set.

        Raises:
            UserError: If it is no `ImageDataModule`.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ImageDataModule):
            raise UserError(f"{type(self).__name__} needs an ImageDataModule, got {type(data).__name__}")
        return data
