"""What the matching methods share: pairs of recalled and real images by class, their distances, and a network's state.

[1] Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (DC), ICLR 2021.
[2] Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (DSA), ICML 2021.
[3] Zhao and Bilen, "Dataset Condensation with Distribution Matching" (DM), WACV 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.memories.base import Memory
from rtp.modules.unroll.base import draw_minibatches
from rtp.modules.unroll.inner_optimizer import InnerOptimizer
from rtp.modules.unroll.step.functions import StepFunctions

EPSILON = 1e-6
"""Added to the product of two norms, as in the authors' code: the cosine of a row of zeros is 0."""


def refuse_buffers(user: str, network: nn.Module) -> None:
    """Raise UserError, in the name of the class `user`, if a network has buffers, such as running statistics."""
    if any(True for _ in network.buffers()):
        raise UserError(
            f"{user} does not support {type(network).__name__}, whose buffers change while it is trained: "
            "use InstanceNorm in place of BatchNorm"
        )


@dataclass(frozen=True)
class ClassPairs:
    """Augmented images of the classes of an outer step.

    Attributes:
        classes: (k,) labels, ascending.
        recalled: (k, s, C, H, W) images, differentiable with respect to the memory.
        real: k tensors (n_c, C, H, W).
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
    """Recall images for the classes of a batch, (n, C, H, W) images and (n,) labels in any order.

    `slots_per_class` images of each class are drawn without replacement, or all of them if there are fewer. The
    augmentation is drawn once per class, for recalled and real images alike [2].
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
    """Distance between the directions of two gradients (P,) of a network, the matching loss of [1]; a scalar.

    D = sum over layers, sum over output rows i of 1 - <a_i, b_i> / (|a_i| |b_i| + 1e-6). A row belongs to one output
    of a layer: weights are (out, in), kernels (out, in * h * w).

    Vectors (biases, scales and shifts of norms) are left out, as in the authors' code; [1] does not say so.

    Args:
        recalled: Gradient on recalled images; the distance is differentiated with respect to it.
        real: Gradient on real images.
        shapes: Shapes of the network's parameters, in the order of the gradients.
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
    """Sum over classes of the distance between a network's gradients on recalled and on real images; a scalar.

    It is differentiable with respect to the recalled images x, exactly: dD/dx = M v with v = dD/dg, g the gradient on x
    and M = dg/dx. No graph is kept: each class is finished before the next one.

    Args:
        functions: Those of the network's architecture.
        theta: (P,) the network's weights.
        shapes: Shapes of its parameters.
        pairs: The images.
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
    # the added term is 0, and its derivative with respect to the recalled images is the one just computed
    return total + ((pairs.recalled - pairs.recalled.detach()) * image_gradients).sum()


@dataclass(frozen=True)
class MatchedNetwork:
    """A network that gradients are matched in, and that is trained on recalled images in between.

    Attributes:
        theta: (P,) its weights.
        moments: The state of its optimizer.
        steps: Steps that it was trained for.
        matchings: Outer steps that used it.
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
    """Train a network on recalled images (m, C, H, W), between two matchings of [1]; `network` itself does not change.

    The order of the images is drawn from torch's global generator. A minibatch has at most `batch_size` images, and
    each image is augmented by a draw of its own.
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
    return replace(network, theta=theta, moments=moments, steps=steps)


# Features: DM ----------------------------------------------------------------------------------------------------


def feature_distance(recalled: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Sum over classes of |mean f(recalled) - mean f(real)|^2, the loss of [3]; a scalar.

    The features of a class are (s, F) for recalled and (n_c, F) for real images.
    """
    means = torch.stack([ours.mean(0) - theirs.mean(0) for ours, theirs in zip(recalled, real, strict=True)])
    return means.square().sum()
