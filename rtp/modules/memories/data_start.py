"""Starts of memories from real images.

A deviation from the paper, whose memories start from random numbers (`init: kaiming_uniform`).
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger(__name__)

ImagesOfClass = Callable[[int, int], Tensor]
"""Maps a label and a count n to n normalised training images (n, C, H, W) of the class, always the same ones.

A class of fewer images has repeated ones.
"""
SAMPLE = 5000
"""Images of all classes together that bases are computed from; they take 31 MB as colour of 16x16 pixels in float64."""

LEAST_SHARE = 0.5
"""Of the images' squared pixels; CIFAR-10 has 0.77 with 16 bases, and 0.06 whitened, where a start is worth nothing."""


def sample_size(num_classes: int, num_slots: int) -> int:
    """Images to take of each class: `SAMPLE` of all together, and at least one for each slot."""
    return max(num_slots, -(-SAMPLE // num_classes))


def shrunk(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images (n, C, H, W) averaged to the height and width of a basis, (n, C, h, w), in float64 on the CPU."""
    return F.adaptive_avg_pool2d(images.double().cpu(), (size[0], size[1]))


def shrunk_classes(images_of: ImagesOfClass, num_classes: int, count: int, shape: Sequence[int]) -> Tensor:
    """`count` images of each class as `shrunk` makes them, (num_classes, count, C, h, w) of the shape of a basis."""
    # filled in place: of a thousand classes' small tensors, what is freed would stay with the process
    images = torch.empty(num_classes, count, *shape, dtype=torch.float64)
    for label, of_class in enumerate(images):
        of_class.copy_(shrunk(images_of(label, count), shape[1:]))
    return images


def principal_bases(images: Tensor, count: int) -> Tensor:
    """The bases that reproduce images best: the first right singular vectors of the matrix of all images.

    By Eckart and Young (1936) no other K bases have a smaller squared error over the images; the mean is not
    subtracted, as a memory has none. Each basis has a root mean square of 1, as a normalised image has.

    Args:
        images: (n, C, h, w) float64.
        count: Number of bases K. Those above the number of pixels repeat the first ones.

    Returns:
        (K, C, h, w) float64, in the order of their singular values; each with its largest pixel above 0.
    """
    flat = images.flatten(1)
    vectors = torch.linalg.eigh(flat.T @ flat).eigenvectors.flip(1).T  # (d, d), the largest eigenvalue first
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    bases = vectors * largest.sign() * flat.shape[1] ** 0.5
    return bases[torch.arange(count) % len(bases)].unflatten(1, images.shape[1:])


def extended_bases(bases: Tensor, coefficients: Tensor, images: Tensor) -> Tensor:
    """The `principal_bases` of images that bases reproduce and of new ones: an incremental decomposition.

    As all lie in the span of the bases and the new images, the decomposition is one of few numbers a image. Without a
    new mean, as in Ross et al., "Incremental Learning for Robust Visual Tracking", IJCV 2008, section 3.1.

    Args:
        bases: (K, C, h, w) float64.
        coefficients: (n, K) of the reproduced images.
        images: (m, C, h, w) float64.
    """
    flat = images.flatten(1)
    spanning = torch.linalg.qr(torch.cat([bases.flatten(1), flat]).T).Q.T  # (at most K + m, d), orthonormal
    points = torch.cat([coefficients @ (bases.flatten(1) @ spanning.T), flat @ spanning.T])
    found = principal_bases(points[..., None, None], min(len(bases), len(spanning))).flatten(1) @ spanning
    # `principal_bases` scales to the root mean square of what it is given
    found = found * (flat.shape[1] / len(spanning)) ** 0.5
    return found[torch.arange(len(bases)) % len(found)].unflatten(1, images.shape[1:])


def filled_slots(labels: Tensor, num_classes: int, num_slots: int) -> tuple[Tensor, Tensor]:
    """Which of images with labels (n,) each slot takes, (num_classes, num_slots), and slots held, (num_classes,).

    The first images of a class, repeated in turn; for a class without images those of all classes.
    """
    held, rows = [], []
    for label in range(num_classes):
        own = torch.nonzero(labels == label).flatten()[:num_slots]
        held.append(len(own))
        source = own if len(own) else torch.arange(len(labels), device=labels.device)
        rows.append(source[torch.arange(num_slots, device=labels.device) % len(source)])
    return torch.stack(rows), torch.tensor(held, device=labels.device)


def projection(bases: Tensor) -> Tensor:
    """The pseudo-inverse (C h w, K) of bases (K, C, h, w).

    Flattened images times it are the coefficients (n, K) with which the bases reproduce them best: least squares, the
    smallest solution. Its singular value decomposition is computed once for all classes.
    """
    return torch.linalg.pinv(bases.flatten(1))


def starting_bases(images: Tensor, count: int) -> Tensor:
    """The `principal_bases`; warns if they reproduce less than `LEAST_SHARE` of the images."""
    bases = principal_bases(images, count)
    share = reproduced_share(images, bases)
    if share < LEAST_SHARE:
        log.warning(
            "a start from data is worth little here: %d bases reproduce %.0f %% of the images; leave data.zca out if "
            "it is set, as whitened images have no few main directions, or take more bases",
            count,
            100 * share,
        )
    return bases


def reproduced_share(images: Tensor, bases: Tensor) -> float:
    """1 - ||x - x'||^2 / ||x||^2 of images x (n, C, h, w) and their best reproductions x' by bases (K, C, h, w)."""
    flat = images.flatten(1)
    residual = flat - flat @ projection(bases) @ bases.flatten(1)
    return 1 - float(residual.square().sum() / flat.square().sum().clamp(min=torch.finfo(flat.dtype).tiny))
