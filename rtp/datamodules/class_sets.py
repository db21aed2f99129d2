"""Class sets for distillation, and the evaluation tasks and episodes for testing."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.utils.checks import check_at_least
from rtp.utils.seeds import derived_seed

ClassSets = tuple[tuple[int, ...], ...]
"""Disjoint class sets, each in the order of its own labels 0..k-1."""


def split_classes(num_classes: int, classes_per_task: int, seed: int | None) -> ClassSets:
    """Split classes into disjoint, ascending class sets of one size, as CIFAR100's into 20 five-way tasks (5.3.1).

    Args:
        num_classes: Number of classes.
        classes_per_task: Classes of a set, at least 2; divides `num_classes`.
        seed: Seed of a random split, at least 0; None keeps the order of the labels. The paper does not specify either.

    Raises:
        UserError: If `classes_per_task` is 1 or does not divide the number of classes, or the seed is negative.
    """
    if classes_per_task < 2 or num_classes % classes_per_task:
        fits = ", ".join(str(size) for size in range(2, num_classes + 1) if num_classes % size == 0)
        raise UserError(
            f"classes_per_task is {classes_per_task}, but {num_classes} classes must split into sets of one size, each "
            f"of at least two classes: use one of {fits}"
        )
    if seed is None:
        order = torch.arange(num_classes)
    else:
        check_at_least("task_seed", seed, 0)
        order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed))
    return tuple(tuple(sorted(part)) for part in order.view(-1, classes_per_task).tolist())


def draw_across_sets(class_sets: ClassSets, ways: int, number: int, seed: int) -> tuple[int, ...]:
    """Draw an evaluation task whose classes were never seen together: a class of each of `ways` random sets (A.3).

    Args:
        class_sets: The class sets that the memories were distilled on.
        ways: Number of classes.
        number: Number of the evaluation task; each has its own random stream, so fewer tasks are the first ones.
        seed: Seed of all evaluation tasks.

    Raises:
        UserError: If there are fewer class sets than classes to draw.
    """
    check_ways(ways, len(class_sets), "class sets to take a class of each from")
    generator = torch.Generator().manual_seed(derived_seed(seed, ways, number))
    chosen = torch.randperm(len(class_sets), generator=generator)[:ways].tolist()
    return tuple(class_sets[i][int(torch.randint(len(class_sets[i]), (), generator=generator))] for i in chosen)


def draw_episode(labels: Tensor, ways: int, shots: int, number: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a few-shot episode: random classes, some images of each as shots, and all their other images for testing.

    Args:
        labels: (n,) labels of the images to draw from.
        ways: Number of classes, k.
        shots: Shots per class.
        number: Number of the episode; each has its own random stream.
        seed: Seed of all episodes.

    Returns:
        On the CPU: classes (k,), indices of the shots (k, shots) and of the test images (m,), class by class.

    Raises:
        UserError: If there are fewer classes than `ways`, or a class has no test image left.
    """
    present = labels.cpu()
    distinct = present.unique()
    check_ways(ways, len(distinct), "classes")
    check_shots(present, shots)
    generator = torch.Generator().manual_seed(derived_seed(seed, ways, shots, number))
    classes = distinct[torch.randperm(len(distinct), generator=generator)[:ways]]
    members = [(present == label).nonzero().flatten() for label in classes]
    shuffled = [of_class[torch.randperm(len(of_class), generator=generator)] for of_class in members]
    drawn = torch.stack([of_class[:shots] for of_class in shuffled])
    return classes, drawn, torch.cat([of_class[shots:].sort().values for of_class in shuffled])


def check_ways(ways: int, available: int, what: str) -> None:
    """Raise UserError unless an evaluation task or episode has 2 to `available` classes."""
    if not 2 <= ways <= available:
        raise UserError(f"ways is {ways}, but there are {available} {what}: choose a number from 2 to {available}")


def check_shots(labels: Tensor, shots: int) -> None:
    """Raise UserError unless `shots` >= 1 and every class of `labels` (n,) has at least one more image to test on."""
    classes, counts = labels.unique(return_counts=True)
    least = int(counts.min())
    if not 1 <= shots < least:
        smallest = int(classes[counts.argmin()])
        raise UserError(
            f"{shots} shots do not fit: class {smallest} has {least} images, and one has to be left to test on: "
            f"choose a number from 1 to {least - 1}, or a larger split"
        )


def renumbered(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Map labels (n,), all in `classes` of length k, to their positions there: the network's outputs 0..k-1."""
    places = torch.full((max(classes) + 1,), -1, device=labels.device)
    places[torch.tensor(classes, device=labels.device)] = torch.arange(len(classes), device=labels.device)
    return places[labels]


def members_of_classes(labels: Tensor, num_classes: int) -> list[Tensor]:
    """The indices of each class's images, (n_c,) each, on the labels' device."""
    return [(labels == label).nonzero().flatten() for label in range(num_classes)]


def first_of_each_class(labels: Tensor, num: int) -> Tensor:
    """Mask (n,) of the first `num` images of each class, from labels (n,) in 0..k-1."""
    one_hot = F.one_hot(labels)
    rank = (one_hot.cumsum(0) * one_hot).sum(1)  # 1 for the first image of its class
    return rank <= num


def one_of_each_class(images: Tensor, labels: Tensor) -> Tensor:
    """The first image of each class, in the order of the labels, (num_classes, C, H, W)."""
    chosen = first_of_each_class(labels, 1)
    return images[chosen][labels[chosen].argsort()]
