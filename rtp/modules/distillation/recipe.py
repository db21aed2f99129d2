"""The settings of `rtp.distill` that suit the images and the length of a run, none of them the paper's."""

from dataclasses import dataclass
from typing import Literal

from rtp.modules.augmentations.base import Augmentation
from rtp.modules.augmentations.siamese import SiameseAugmentation
from rtp.modules.networks import ConvNet, NetworkFactory
from rtp.modules.networks.layers import grey_margin
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.base import Unroll
from rtp.modules.unroll.higher import HigherUnroll
from rtp.modules.unroll.stepwise import StepwiseUnroll
from rtp.modules.unroll.window import RandomWindow

COMPILED_FROM = (
    1e8  # pixels in the inner steps of a run; at half of it compiling repays its minute (MNIST, 55 outer steps)
)
KEPT_ACTIVATIONS = 1.0  # GB; 10 steps of 100 images of 32x32 take a quarter of it
WINDOW = 10  # MNIST learns faster so at first, whole loops end higher; on CIFAR-10 those explode (docs/log.md)
RETRAINING_STEPS = 240  # not augmented CIFAR-10's memory loses from there on, MNIST's gains nothing (docs/log.md)
AUGMENTED_STEPS = 480  # MNIST gains half a point by the second half (docs/log.md)
LEAST_EPOCHS = 10  # for memories of thousands of images
VALIDATIONS = 10
MOST_STEPS_BETWEEN = 50  # validations, as in configs/cpu/mnist_ipc1.yaml, and so the patience
PATIENCE = 4


@dataclass(frozen=True)
class Recipe:
    """What goes together in a run.

    Attributes:
        unroll: The engine, with its inner steps.
        images_per_inner_step: Recalled images of all classes together.
        inner_learning_rate: Of SGD with momentum 0.9.
        outer_learning_rate: Of Adam.
        augmentation: Of recalled and real images.
        average: Decay of the memory's average over outer steps; None for the memory itself.
        protocol: How networks are retrained.
        validate_every: Outer steps.
        patience: Validations without a gain after which the run ends; None for all steps.
    """

    unroll: Unroll
    images_per_inner_step: int
    inner_learning_rate: float
    outer_learning_rate: float
    augmentation: Augmentation | None
    average: float | None
    protocol: TrainingProtocol
    validate_every: int
    patience: int | None


def suitable_recipe(
    network: NetworkFactory | None,
    augmentation: Augmentation | Literal["auto"] | None,
    pixels: int,
    num_images: int,
    steps: int,
    inner_steps: int | None,
) -> Recipe:
    """Whole loops for short runs, random windows of long loops in the compiled engine for long ones of a ConvNet.

    The inner rate times T is the paper's 1.5 (150 steps of 0.01) in short loops, and 60 steps of 0.02 in long ones,
    with which a gradient is less noisy than with 0.05 (docs/log.md).

    Args:
        network: Builds the networks; None is a ConvNet. Others may have layers that only `HigherUnroll` supports.
        augmentation: "auto" for a shift, stretch or turn by a little in long runs, and none in short ones.
        pixels: Height times width of an image.
        num_images: Recalled images of all classes.
        steps: Outer steps.
        inner_steps: T; None for 20 whole steps or a random window of 60. A loop of at most `WINDOW` steps is whole.
    """
    own = network is not None and getattr(network, "func", network) is not ConvNet
    images = 50  # as in configs/digits_ipc1.yaml
    if own or pixels * steps * (inner_steps or 20) * images < COMPILED_FROM:
        num_steps = inner_steps or 20
        protocol = TrainingProtocol(epochs=60, learning_rate=0.05)  # more gain nothing (docs/log.md)
        own_augmentation = None if augmentation == "auto" else augmentation
        every = max(1, steps // VALIDATIONS)
        return Recipe(
            HigherUnroll(num_steps), images, 1.5 / num_steps, 0.02, own_augmentation, None, protocol, every, None
        )
    num_steps = inner_steps or 60  # this and the rest but the window as in configs/cpu/mnist_ipc1.yaml
    window = RandomWindow(WINDOW) if num_steps > WINDOW else None
    if augmentation == "auto":
        augmentation = SiameseAugmentation(("crop", "scale", "rotate"))  # what hardly ever changes an image's class
    retraining_steps = RETRAINING_STEPS if augmentation is None else AUGMENTED_STEPS
    batches = -(-num_images // 50)
    epochs = max(LEAST_EPOCHS, round(retraining_steps / batches))
    protocol = TrainingProtocol(epochs=epochs, batch_size=50, learning_rate=0.02, drop_after=0.75)
    unroll = StepwiseUnroll(num_steps, window, activation_cache_gb=KEPT_ACTIVATIONS)
    every = max(1, min(steps // VALIDATIONS, MOST_STEPS_BETWEEN))
    return Recipe(unroll, 100, 60 * 0.02 / num_steps, 0.005, augmentation, 0.98, protocol, every, PATIENCE)


def suitable_downsampling(image_shape: tuple[int, int, int]) -> int:
    """The paper's 2 if it divides height and width of the images (C, H, W), or else 1."""
    return 1 if image_shape[1] % 2 or image_shape[2] % 2 else 2


def suitable_depth(image_shape: tuple[int, int, int]) -> int:
    """Depth of a ConvNet that leaves feature maps of about 4x4: 1 for 8 pixels, 3 for 28 and 32, 4 for 64."""
    side = min(image_shape[1:]) + 2 * grey_margin(image_shape)
    return max(1, (side // 4).bit_length() - 1)  # floor(log2(side / 4))
