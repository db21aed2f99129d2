"""ConvNet, the paper's main network."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import grey_margin, instance_norm, pooled_area, require_positive


class ConvNet(Network):
    """Blocks of 3x3 convolution, InstanceNorm, ReLU and 2x2 average pooling, then one linear layer.

    Sections 5.1 and A.1; the order within a block is that of section 5.1 and of the authors' code. Grey
    28-pixel images are padded to 32 by the first convolution.

    Args:
        image_shape: (C, H, W) of the images, H and W in pixels.
        num_classes: Number of classes.
        width: Channels of every block; 128 in section 5.1, 160 for continual CIFAR100 (section A.2).
        depth: Number of blocks; 3 for 32-pixel images, 4 for 64-pixel images in the authors' code.

    Raises:
        UserError: If `width` or `depth` is below 1, or if the images cannot be halved `depth` times.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: int = 128, depth: int = 3) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("width", width)
        require_positive("depth", depth)
        margin = grey_margin(image_shape)
        area = pooled_area(image_shape, depth, f"ConvNet of depth {depth}", margin)
        self.features = nn.Sequential(
            _block(image_shape[0], width, padding=1 + margin),
            *(_block(width, width, padding=1) for _ in range(depth - 1)),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(width * area, num_classes)


def _block(in_channels: int, width: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, kernel_size=3, padding=padding),
        instance_norm(width),
        nn.ReLU(),
        nn.AvgPool2d(2),
    )
