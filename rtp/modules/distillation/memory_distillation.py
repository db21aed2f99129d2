"""The LightningModule that learns a memory by back-propagation through time (algorithm 1)."""

from torch import Tensor

from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.unrolled import UnrolledDistillation
from rtp.modules.memories.base import Memory
from rtp.modules.unroll.base import Episode, draw_minibatches


class MemoryDistillation(UnrolledDistillation):
    """Distils a data set into a memory, "back-propagation through time" of section 4.2.

    Each outer step recalls images for the labels of the batch, trains a fresh network on them for T inner steps, and
    follows the gradient of that network's loss on the batch's real images, the meta-loss J of equation 3.

    Recalled and real images of an outer step are augmented with one choice and one parameter (siamese); when networks
    are retrained, each image has its own. The arguments are those of `UnrolledDistillation`.
    """

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
    return Episode(images, labels, minibatches.to(images.device), real_images, real_labels)
