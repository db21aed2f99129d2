"""The LightningModule that learns a memory by back-propagation through training (algorithm 1)."""

from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim import SGD

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.base import Memory, MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll.base import Episode, RealImages, Unroll, draw_minibatches
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD


class MemoryDistillation(Distillation):
    """Distils a data set into a memory, "back-propagation through time" of section 4.2.

    Each outer step recalls images for the labels of the batch, trains a fresh network on them for T inner steps, and
    follows the gradient of that network's loss on the batch's real images, the meta-loss J of equation 3.

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
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.1, momentum=0.5),
    ) -> None:
        if slots_per_class < 1:
            raise UserError(f"slots_per_class must be at least 1, got {slots_per_class}")
        super().__init__(image_shape, num_classes, memory, network, augmentation, optimizer)
        self.unroll = unroll
        self.slots_per_class = slots_per_class
        self.inner_optimizer = inner_optimizer

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The meta-loss J, lines 5 to 15; see `Distillation.outer_loss`."""
        episode = recalled_episode(
            self.memory,
            real_labels.unique(),
            (real_images, real_labels),
            self.slots_per_class,
            self.unroll.num_steps,
            self.augmentation,
        )
        return self.unroll.meta_loss(self.fresh_network(self.network), self.inner_optimizer, episode)


def recalled_episode(
    memory: Memory,
    classes: Tensor,
    real: tuple[Tensor, Tensor],
    slots_per_class: int,
    num_steps: int,
    augmentation: Augmentation | None,
) -> Episode:
    """Recall what an inner loop trains on, and draw its minibatches.

    Args:
        memory: The memory.
        classes: (k,) the classes to recall, Y'.
        real: Images (n, C, H, W) of these classes and labels (n,) of the outer loss.
        slots_per_class: Images of each class in a minibatch at most.
        num_steps: Inner steps T.
        augmentation: Applied to recalled and real images with one choice and one parameter, if given.

    Returns:
        The episode; random numbers come from torch's global generators.
    """
    images = memory.recall(classes).flatten(0, 1)
    labels = classes.repeat_interleave(memory.num_slots)
    real_images, real_labels = real
    if augmentation is not None:
        siamese = augmentation.sample(1, device=real_images.device)
        images = augmentation.apply(images, siamese)
        real_images = augmentation.apply(real_images, siamese)
    minibatches = draw_minibatches(len(classes), memory.num_slots, slots_per_class, num_steps)
    return Episode(images, labels, minibatches.to(images.device), RealImages(real_images, real_labels))
