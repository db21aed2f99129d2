"""Guards of labelled images: what cannot be used is refused, what looks like a mistake is warned of, by name."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from rtp.errors import DataError

CHUNK = 512
"""Images looked at together."""
log = logging.getLogger(__name__)

DARKEST_RANGE = 16
"""Grey levels: training images that use fewer of the 256 are warned of. 12 bits stored in 16 use 16 levels."""


def check_labelled_images(
    what: str, images: Tensor, labels: Tensor, image_shape: tuple[int, int, int], class_names: Sequence[str]
) -> None:
    """Check the types, shapes and ranges of a split.

    Args:
        what: The split in messages, such as "The test split of pets".
        images: Should be (n, C, H, W) uint8, n >= 1.
        labels: Should be (n,) int64 in 0..num_classes-1.
        image_shape: (C, H, W) that the data module declares; C should be 1 or 3.
        class_names: Names of the classes.

    Raises:
        DataError: If anything is not as it should be.
    """
    num_classes = len(class_names)
    if image_shape[0] not in (1, 3):
        raise DataError(
            f"{what} has images of {image_shape[0]} channels (its shape is {image_shape}), not 1 or 3: channels come "
            "first, (C, H, W), so permute or choose them."
        )
    if images.dtype != torch.uint8 or labels.dtype != torch.int64:
        raise DataError(f"{what} holds {images.dtype} images and {labels.dtype} labels, not uint8 and int64.")
    if len(images) == 0 or images.shape[1:] != image_shape or labels.shape != images.shape[:1]:
        raise DataError(
            f"{what} holds images of shape {tuple(images.shape)} and labels of shape "
            f"{tuple(labels.shape)}, not (n, {', '.join(map(str, image_shape))}) and (n,)."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"{what} holds labels from {labels.min()} to {labels.max()}, not from 0 to "
            f"{num_classes - 1}: leave unlabelled images out."
        )


def check_trainable(name: str, images: Tensor, labels: Tensor, class_names: Sequence[str]) -> None:
    """Check that a training set has classes to tell apart and images for training and validation.

    Args:
        name: Name of the data set.
        images: (n, C, H, W) uint8.
        labels: (n,) int64 in 0..num_classes-1.
        class_names: Names of the classes.

    Raises:
        DataError: If there is one class only, a class has fewer than two images, or all pixels have one value.
    """
    if len(class_names) < 2:
        raise DataError(
            f"{name} holds one class, {class_names[0]!r}, and there is nothing to tell apart: use two or more."
        )
    counts = labels.bincount(minlength=len(class_names))
    if counts.min() < 2:
        label = int(counts.argmin())
        present = counts.nonzero().flatten().tolist()
        raise DataError(
            f"The train split of {name} holds {counts[label]} images of class {class_names[label]!r}, but training and "
            "validation need one each: add images or leave the class out"
            + (f" (a torch data set: classes={present})." if len(present) <= 20 else ".")
        )
    if (low := int(images.min())) == int(images.max()):
        raise DataError(f"Every pixel of the training images of {name} is {low} of 0..255: check how they are read.")


def check_divisible(where: str, labels: Tensor, class_names: Sequence[str]) -> None:
    """Check that a set from which a test part is taken has images enough for three parts.

    Args:
        where: The set in messages.
        labels: (n,) int64.
        class_names: Names of the classes.

    Raises:
        DataError: If a class has fewer than three images.
    """
    counts = labels.bincount(minlength=len(class_names))
    if counts.min() < 3:
        raise DataError(
            f"{where} holds {int(counts.min())} images of class {class_names[int(counts.argmin())]!r}, but training, "
            "validation and test need one each, as there is no test set: add images, leave the class out, or add one."
        )


def warn_of_odd_images(images: Tensor, labels: Tensor, subset: Tensor, class_names: Sequence[str], name: str) -> None:
    """Warn of constant images, classes of equal images and unused grey levels: often files that were read wrongly.

    Args:
        images: (n, C, H, W) uint8.
        labels: (n,) int64.
        subset: Indices (m,) of the training images among them.
        class_names: Names of the classes.
        name: Name of the data set in the warning.
    """
    flat, labels = images.flatten(1), labels[subset]
    low, high = (torch.cat([of(flat[part], 1) for part in subset.split(CHUNK)]) for of in (torch.amin, torch.amax))
    constant = low == high
    if constant.any():
        log.warning(
            "%d of %d training images of %s are of one value each, the first in class %r: check how they are read",
            *(int(constant.sum()), len(subset), name, class_names[int(labels[constant][0])]),
        )
    for label, class_name in enumerate(class_names):
        members = subset[labels == label]
        if len(members) > 1 and all((flat[part] == flat[members[0]]).all() for part in members.split(CHUNK)):
            log.warning("all %d training images of class %r of %s are equal", len(members), class_name, name)
    levels = int(high.max()) - int(low.min()) + 1
    if levels <= DARKEST_RANGE:
        log.warning(
            "the training images of %s use %d of 256 levels, %d to %d: scale files of fewer bits than they store",
            *(name, levels, int(low.min()), int(high.max())),
        )
