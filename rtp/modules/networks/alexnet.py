"""AlexNet for small images."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import grey_margin, instance_norm, pooled_area, require_positive


class AlexNet(Network):
    """Five convolutions of stride 1 with InstanceNorm and ReLU, then one linear layer (section B.1, table 6).

    The small-image AlexNet of dataset condensation [1], with InstanceNorm and average pooling as in the
    authors' code. The kernels measure 5, 5, 3, 3 and 3 pixels; 2x2 pooling follows the first, second and
    fifth. Grey 28-pixel images are padded to 32 by the first convolution.

    [1] Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.

    Args:
        image_shape: (C, H, W) of the images, H and W in pixels; H and W at least 8.
        num_classes: Number of classes.
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
        first, second, third, fourth, fifth = widths
        self.features = nn.Sequential(
            *_convolution(image_shape[0], first, kernel_size=5, margin=margin),
            nn.AvgPool2d(2),
            *_convolution(first, second, kernel_size=5),
            nn.AvgPool2d(2),
            *_convolution(second, third, kernel_size=3),
            *_convolution(third, fourth, kernel_size=3),
            *_convolution(fourth, fifth, kernel_size=3),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(fifth * area, num_classes)


def _convolution(in_channels: int, width: int, kernel_size: int, margin: int = 0) -> tuple[nn.Module, ...]:
    padding = kernel_size // 2 + margin
    return nn.Conv2d(in_channels, width, kernel_size, padding=padding), instance_norm(width), nn.ReLU()
