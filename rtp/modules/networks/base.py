"""Interface of the networks and of their factories."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """An image classifier: a stack of layers and one linear layer on the flattened result.

    A subclass's first two arguments are `image_shape` and `num_classes`, which the data set provides. It builds
    `features` and `classifier` with PyTorch's default initialisation, as the authors' code does. The inner loop
    differentiates a network twice, so no layer works in place or keeps running statistics.

    Args:
        image_shape: (C, H, W), H and W in pixels.
        num_classes: Number of classes.

    Attributes:
        features: Maps images (n, C, H, W) to features (n, F).
        classifier: Maps features (n, F) to logits (n, num_classes).
    """

    features: nn.Module
    classifier: nn.Linear

    @abstractmethod
    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, C, H, W) to logits (n, num_classes)."""
        return self.classifier(self.features(images))


# Called with (image_shape, num_classes). By the first member a configuration names this package's networks by class
# name alone, without a clash with torchvision's AlexNet; by the second, any nn.Module by dotted path.
NetworkFactory = Callable[[tuple[int, int, int], int], Network] | Callable[[tuple[int, int, int], int], nn.Module]
