"""Many small classification tasks, each with a network of its own: trained together, chunk by chunk, and measured."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from rtp.modules.augmentations.base import Augmentation
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, train_networks

AT_ONCE = 1000  # images in a batch, as in evaluation


@dataclass(frozen=True)
class SmallTask:
    """A task with k classes.

    Attributes:
        images: (m, C, H, W) training images, preprocessed.
        labels: (m,) their labels in 0..k-1.
        test_images: (n, C, H, W) images to measure on.
        test_labels: (n,) their labels in 0..k-1.
        seed: Seed of the task's network and of everything that is drawn while it is trained.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    seed: int


def accuracies(
    tasks: Iterable[SmallTask],
    network: Callable[[], nn.Module],
    protocol: TrainingProtocol,
    augmentation: Augmentation | None = None,
    vmapped: bool | None = None,
    at_once: int = 1,
    on_epoch: Callable[[], object] = lambda: None,
) -> list[float]:
    """Train a network on each task and measure it on the task's test images.

    Args:
        tasks: The tasks; asked for one after the other, so that only a chunk of them is in memory.
        network: Makes a network of k outputs, drawing its weights from the global generators.
        protocol: How networks are trained.
        augmentation: Applied to each training image with a parameter of its own.
        vmapped: Whether a chunk's networks are trained in one loop, see `train_networks`; the same to rounding.
        at_once: Tasks in a chunk, at least 1.
        on_epoch: Called after each epoch of each network.

    Returns:
        Fraction of test images classified correctly, in the order of the tasks.
    """
    found = []
    for chunk in _chunks(tasks, at_once):
        trainees = []
        for task in chunk:
            with isolated_rng(task.seed):
                trainees.append(Trainee(network(), task.images, task.labels, task.seed))
        trained = train_networks(trainees, protocol, augmentation, vmapped, on_epoch)
        found += [_accuracy(network, task) for network, task in zip(trained, chunk, strict=True)]
    return found


@torch.no_grad()
def _accuracy(network: nn.Module, task: SmallTask) -> float:
    parts = zip(task.test_images.split(AT_ONCE), task.test_labels.split(AT_ONCE), strict=True)
    hits = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in parts)
    return hits / len(task.test_labels)


def _chunks(tasks: Iterable[SmallTask], size: int) -> Iterator[list[SmallTask]]:
    rest = iter(tasks)
    while chunk := list(islice(rest, size)):
        yield chunk
