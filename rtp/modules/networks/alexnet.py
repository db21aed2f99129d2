"""AlexNet for small images."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import grey_margin, normalised_convolution, pooled_area, require_positive


class AlexNet(Network):
    """Five convolutions of stride 1 with InstanceNorm and ReLU, then one linear layer (section B.1, table 6).

    The small-image AlexNet of "Dataset Condensation with Gradient Matching" (Zhao, Mopuri and Bilen, ICLR 2021), with
    InstanceNorm and average pooling as in the authors' code. The kernels measure 5, 5, 3, 3 and 3 pixels; 2x2 pooling
    follows the first, second and fifth. The first convolution pads grey 28-pixel images to 32.

    Args:
        image_shape: (C, H, W); H and W at least 8.
        widths: Output channels of the five convolutions; the defaults are those of the authors' code.

    Raises:
        UserError: If a width is below 1, or if the images are too small.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        widths: tuple[int, int, int, int, int] = (128, 192, 256, 192, 192),
    ) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("widths", *widths)
        margin = grey_margin(image_shape)
        area = pooled_area(image_shape, 3, "AlexNet", margin)
        layers: list[nn.Module] = []
        in_channels = image_shape[0]
        for width, kernel_size, pooled in zip(widths, (5, 5, 3, 3, 3), (True, True, False, False, True), strict=True):
            layers += *normalised_convolution(in_channels, width, kernel_size, margin), nn.ReLU()
            if pooled:
                layers.append(nn.AvgPool2d(2))
            in_channels, margin = width, 0
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.classifier = nn.Linear(in_channels * area, num_classes)
