"""MLP, the network of the MNIST experiments in continual learning."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import require_positive


class MLP(Network):
    """Hidden layers with ReLU on the flattened image, then one linear layer (section A.2).

    Args:
        image_shape: (C, H, W) of the images, H and W in pixels.
        num_classes: Number of classes.
        hidden_width: Units of a hidden layer; 256 in section A.2.
        depth: Number of hidden layers; the paper does not say it, and 1 is assumed.

    Raises:
        UserError: If `hidden_width` or `depth` is below 1.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, hidden_width: int = 256, depth: int = 1
    ) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("hidden_width", hidden_width)
        require_positive("depth", depth)
        channels, height, width = image_shape
        self.features = nn.Sequential(
            nn.Flatten(),
            *_hidden_layer(channels * height * width, hidden_width),
            *(layer for _ in range(depth - 1) for layer in _hidden_layer(hidden_width, hidden_width)),
        )
        self.classifier = nn.Linear(hidden_width, num_classes)


def _hidden_layer(in_features: int, width: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(in_features, width), nn.ReLU()
