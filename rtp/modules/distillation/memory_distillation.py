"""The LightningModule that learns a memory by back-propagation through time (algorithm 1)."""

from dataclasses import replace
from functools import partial

from torch import Tensor

from rtp.datamodules.base import LabelledImages
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.unrolled import UnrolledDistillation
from rtp.modules.memories.base import Memory
from rtp.modules.unroll.base import Episode, RealImages, draw_minibatches


class MemoryDistillation(UnrolledDistillation):
    """Distils a data set into a memory, "back-propagation through time" of section 4.2.

    Each outer step recalls images for the labels of the batch, trains a fresh network on them for T inner steps, and
    follows the gradient of that network's loss on the batch's real images, the meta-loss J of equation 3.
    """

    learns_rate = True

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The meta-loss J, lines 5 to 15; see `Distillation.outer_loss`."""
        unroll = self.current_unroll
        settings = self.slots_per_class, unroll.num_steps, self.augmentation
        episode = recalled_episode(self.memory, real_labels.unique(), (real_images, real_labels), *settings)
        return unroll.meta_loss(self.fresh_network(self.network), self.inner_optimizer, episode)


def recalled_episode(
    memory: Memory,
    classes: Tensor,
    real: LabelledImages,
    slots_per_class: int,
    num_steps: int,
    augmentation: Augmentation | None,
) -> Episode:
    """The `augmented_episode` of the images recalled by labels Y' (k,), at the memory's rate."""
    recalled = memory.recall(classes).flatten(0, 1), classes.repeat_interleave(memory.num_slots)
    episode = augmented_episode(recalled, len(classes), real, slots_per_class, num_steps, augmentation)
    combinations = partial(memory.combinations, classes) if augmentation is None else None
    return replace(episode, rate_factor=memory.rate_factor, combinations=combinations)


def augmented_episode(
    recalled: LabelledImages,
    num_classes: int,
    real: LabelledImages,
    slots_per_class: int,
    num_steps: int,
    augmentation: Augmentation | None,
) -> Episode:
    """Augment the images of an inner loop, and draw its minibatches from torch's global generator.

    Args:
        recalled: Images and labels to train on, class by class, equally many of each class.
        num_classes: Number of their classes.
        real: Images and labels of the outer loss.
        slots_per_class: Images of each class in a minibatch at most.
        num_steps: Inner steps T.
        augmentation: Applied to recalled and real images with one choice and one parameter, if given.
    """
    images, real_images = recalled[0], real[0]
    if augmentation is not None:
        siamese = augmentation.sample(1, device=real_images.device)
        images, real_images = augmentation.apply(images, siamese), augmentation.apply(real_images, siamese)
    minibatches = draw_minibatches(num_classes, len(images) // num_classes, slots_per_class, num_steps)
    return Episode(images, recalled[1], minibatches.to(images.device), RealImages(real_images, real[1]))
