"""MLP, the network of the MNIST experiments in continual learning."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import require_positive
from rtp.utils.checks import check_in


class MLP(Network):
    """Hidden layers with ReLU on the flattened image, then one linear layer (section A.2).

    Args:
        hidden_width: Units of a hidden layer; 256 in section A.2.
        depth: Number of hidden layers; not given in the paper.
        dropout: Probability that a hidden unit is dropped in training, in [0, 1); none in the paper.

    Raises:
        UserError: If `hidden_width` or `depth` is below 1, or `dropout` out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        hidden_width: int = 256,
        depth: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("hidden_width", hidden_width)
        require_positive("depth", depth)
        check_in("dropout", dropout, "[0, 1)")
        channels, height, width = image_shape
        layers: list[nn.Module] = [nn.Flatten()]
        for in_features in (channels * height * width, *(depth - 1) * [hidden_width]):
            layers += nn.Linear(in_features, hidden_width), nn.ReLU()
            layers += [nn.Dropout(dropout)] if dropout else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(hidden_width, num_classes)

    def first_and_rest(self) -> tuple[nn.Linear, nn.Module]:
        """The first linear layer, on the flat image, and the layers after it; see `SpanUnroll`."""
        _, first, *rest = self.features.children()
        assert isinstance(first, nn.Linear)
        return first, nn.Sequential(*rest, self.classifier)
