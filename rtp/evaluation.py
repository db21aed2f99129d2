"""Training fresh networks on a set of images and measuring them: the evaluation protocol of section 5.1."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.augmentation import Augmentation


@dataclass(frozen=True)
class TrainingProtocol:
    """How a fresh network is trained: SGD with momentum and a constant learning rate.

    Args:
        epochs: Passes over the training images; the paper uses 300 (5.1).
        batch_size: Images in a minibatch at most; 640 is the authors' code's.
        learning_rate: The paper uses 0.01 (A.1).
        momentum: The paper uses 0.9 (A.1).

    Raises:
        UserError: If `epochs` or `batch_size` is below 1.
    """

    epochs: int = 300
    batch_size: int = 640
    learning_rate: float = 0.01
    momentum: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")


def train_network(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    protocol: TrainingProtocol,
    augmentation: Augmentation | None = None,
    on_epoch: Callable[[], object] = lambda: None,
) -> nn.Module:
    """Train a network in place.

    Args:
        network: Maps (n, C, H, W) to logits (n, num_classes).
        images: (m, C, H, W) training images, on the network's device.
        labels: (m,) their labels.
        protocol: Epochs, batch size and optimizer.
        augmentation: Applied to every image of a minibatch with a parameter of its own.
        on_epoch: Called after each epoch, for progress bars.

    Returns:
        The network, trained and in evaluation mode; minibatches are drawn from torch's global generator.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=protocol.learning_rate, momentum=protocol.momentum)
    network.train()
    with torch.enable_grad():  # Lightning turns gradients off while it validates and tests
        for _ in range(protocol.epochs):
            for batch in torch.randperm(len(labels)).to(labels.device).split(protocol.batch_size):
                inputs = images[batch]
                if augmentation is not None:
                    parameters = augmentation.sample(len(batch), device=inputs.device)
                    inputs = augmentation.apply(inputs, parameters)
                optimizer.zero_grad()
                F.cross_entropy(network(inputs), labels[batch]).backward()
                optimizer.step()
            on_epoch()
    return network.eval()


def random_real_images(images: Tensor, labels: Tensor, images_per_class: int) -> tuple[Tensor, Tensor]:
    """Draw as many random real images of every class: the plainest set of a given storage.

    Args:
        images: (n, C, H, W) real images.
        labels: (n,) their labels.
        images_per_class: Images to draw of each class, from torch's global generator, without replacement.

    Raises:
        UserError: If a class has fewer images.
    """
    chosen = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        if len(members) < images_per_class:
            raise UserError(
                f"class {int(label)} has {len(members)} images, fewer than the {images_per_class} "
                "of the storage budget: use a smaller images_per_class"
            )
        chosen.append(members[torch.randperm(len(members))[:images_per_class].to(members.device)])
    index = torch.cat(chosen)
    return images[index], labels[index]
