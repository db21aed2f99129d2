"""What the matching methods share: pairs of recalled and real images by class, their distances, and a network's state.

[1] Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (DC), ICLR 2021.
[2] Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (DSA), ICML 2021.
[3] Zhao and Bilen, "Dataset Condensation with Distribution Matching" (DM), WACV 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.func import grad_and_value

from rtp.modules.augmentations.base import Augmentation
from rtp.modules.memories.base import Memory
from rtp.modules.unroll.base import draw_minibatches
from rtp.modules.unroll.inner_optimizer import InnerOptimizer
from rtp.modules.unroll.step.functions import StepFunctions

EPSILON = 1e-6
"""Added to the product of two norms, as in the authors' code: the cosine of a row of zeros is 0."""


@dataclass(frozen=True)
class ClassPairs:
    """Recalled and real images of the classes of an outer step, after the augmentation.

    Attributes:
        classes: (k,) labels, ascending.
        recalled: (k, s, C, H, W) recalled images of each class, differentiable with respect to the memory.
        real: k tensors (n_c, C, H, W), the real images of each class.
    """

    classes: Tensor
    recalled: Tensor
    real: tuple[Tensor, ...]


def class_pairs(
    memory: Memory,
    slots_per_class: int,
    real_images: Tensor,
    real_labels: Tensor,
    augmentation: Augmentation | None = None,
) -> ClassPairs:
    """Recall images for the classes of a batch; the augmentation is drawn once a class, for both kinds [2].

    Args:
        memory: Where images are recalled from.
        slots_per_class: Recalled images of each class, drawn without replacement; all of them where there are fewer.
        real_images: (n, C, H, W) images, in any order.
        real_labels: (n,) their labels.
        augmentation: The siamese augmentation, if any.
    """
    classes, place = real_labels.unique(return_inverse=True)
    chosen = draw_minibatches(len(classes), memory.num_slots, slots_per_class, 1)[0].to(classes.device)
    recalled = memory.recall_slots(classes[chosen // memory.num_slots], chosen % memory.num_slots)
    per_class = len(chosen) // len(classes)
    if augmentation is not None:
        draws = augmentation.sample(len(classes), classes.device)
        recalled = augmentation.apply(recalled, draws.repeat_interleave(per_class, dim=0))
        real_images = augmentation.apply(real_images, draws[place])
    real = tuple(real_images[place == number] for number in range(len(classes)))
    return ClassPairs(classes, recalled.unflatten(0, (len(classes), per_class)), real)


# Gradients: DC and DSA -------------------------------------------------------------------------------------------


def gradient_distance(recalled: Tensor, real: Tensor, shapes: Sequence[torch.Size]) -> Tensor:
    """How far two gradients of a network point into different directions, row by row: the matching loss of [1].

    D = sum over layers, sum over output rows i of 1 - <a_i, b_i> / (|a_i| |b_i| + 1e-6). A row is what leads to one
    output of a layer: weights (out, in), kernels as (out, in * h * w).

    Vectors (biases, scales and shifts of norms) are left out: [1] does not say so, the authors' code does it.

    Args:
        recalled: (P,) gradient on recalled images, which the distance is differentiated for.
        real: (P,) gradient on real images.
        shapes: Of the network's parameters, in the order of the gradient.

    Returns:
        A scalar.
    """
    sizes = [shape.numel() for shape in shapes]
    distance = recalled.new_zeros(())
    for ours, theirs, shape in zip(recalled.split(sizes), real.split(sizes), shapes, strict=True):
        if len(shape) > 1:
            a, b = ours.view(shape[0], -1), theirs.view(shape[0], -1)
            norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
            distance = distance + (1 - (a * b).sum(1) / (norms + EPSILON)).sum()
    return distance


def gradient_matching_loss(
    functions: StepFunctions, theta: Tensor, shapes: Sequence[torch.Size], pairs: ClassPairs
) -> Tensor:
    """Sum over classes of the distance between a network's gradients on recalled and on real images.

    The derivative for the recalled images x is exact: dD/dx = M v with v = dD/dg, g the gradient on x and M = dg/dx,
    for which no graph is kept: each class is done with before the next one.

    Args:
        functions: Of the network's architecture.
        theta: (P,) the network's weights.
        shapes: Of its parameters.
        pairs: The images.

    Returns:
        A scalar, differentiable with respect to `pairs.recalled`.
    """
    total = theta.new_zeros(())
    image_gradients = torch.empty_like(pairs.recalled)
    with torch.no_grad():
        for number, label in enumerate(pairs.classes):
            images, real = pairs.recalled[number].detach(), pairs.real[number]
            labels = label.expand(len(images))
            target = functions.gradient(theta, real, label.expand(len(real)))
            gradient = functions.gradient(theta, images, labels)
            direction, distance = grad_and_value(partial(gradient_distance, real=target, shapes=shapes))(gradient)
            _, image_gradients[number] = functions.hessian_vector_products(theta, direction, images, labels)
            total += distance
    # a term that is zero, and whose derivative for the recalled images is the one that has just been computed
    return total + ((pairs.recalled - pairs.recalled.detach()) * image_gradients).sum()


@dataclass(frozen=True)
class MatchedNetwork:
    """A network in whose gradients images are matched, and which is trained on recalled images in between.

    Attributes:
        theta: (P,) its weights.
        moments: The state of its optimizer.
        steps: Steps that it was trained for.
        matchings: Outer steps that it was used in.
    """

    theta: Tensor
    moments: tuple[Tensor, ...]
    steps: int = 0
    matchings: int = 0


def trained(
    network: MatchedNetwork,
    functions: StepFunctions,
    optimizer: InnerOptimizer,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    batch_size: int,
    augmentation: Augmentation | None = None,
) -> MatchedNetwork:
    """Train a network on recalled images, between two matchings of [1].

    Args:
        network: The network; it is left as it is.
        functions: Of its architecture.
        optimizer: Its update rule.
        images: (m, C, H, W) recalled images.
        labels: (m,) their labels.
        epochs: Passes over the images, in an order drawn from torch's global generator.
        batch_size: Images in a minibatch at most.
        augmentation: Applied image by image.

    Returns:
        The network after `epochs` passes.
    """
    theta, moments, steps = network.theta, network.moments, network.steps
    with torch.no_grad():
        for _ in range(epochs):
            for chosen in torch.randperm(len(labels)).to(labels.device).split(batch_size):
                batch = images[chosen]
                if augmentation is not None:
                    batch = augmentation.apply(batch, augmentation.sample(len(batch), batch.device))
                gradient = functions.gradient(theta, batch, labels[chosen])
                steps += 1
                theta, moments, _ = optimizer.step(steps, theta, moments, gradient)
    return MatchedNetwork(theta, moments, steps, network.matchings)


# Features: DM ----------------------------------------------------------------------------------------------------


def feature_distance(recalled: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Squared distance of the mean features of recalled and real images, summed over classes: the loss of [3].

    Args:
        recalled: Features of each class's recalled images, (s, F) each.
        real: Features of each class's real images, (n_c, F) each.

    Returns:
        A scalar: sum over classes of |mean f(recalled) - mean f(real)|^2.
    """
    means = torch.stack([ours.mean(0) - theirs.mean(0) for ours, theirs in zip(recalled, real, strict=True)])
    return means.square().sum()
