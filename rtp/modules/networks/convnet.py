"""ConvNet, the paper's main network."""

from torch import nn

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import grey_margin, normalised_convolution, pooled_area, require_positive


class ConvNet(Network):
    """Blocks of 3x3 convolution, InstanceNorm, ReLU and 2x2 average pooling, then one linear layer.

    Sections 5.1 and A.1; the order within a block is that of section 5.1 and of the authors' code. The first
    convolution pads grey 28-pixel images to 32.

    Args:
        width: Channels of every block; 128 in section 5.1, 160 for continual CIFAR100 (section A.2).
        depth: Number of blocks; in the authors' code 3 for 32-pixel images, 4 for 64-pixel images.

    Raises:
        UserError: If `width` or `depth` is below 1, or the images cannot be halved `depth` times.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: int = 128, depth: int = 3) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("width", width)
        require_positive("depth", depth)
        margin = grey_margin(image_shape)
        area = pooled_area(image_shape, depth, f"ConvNet of depth {depth}", margin)
        blocks = (
            nn.Sequential(*normalised_convolution(in_channels, width, 3, added), nn.ReLU(), nn.AvgPool2d(2))
            for in_channels, added in ((image_shape[0], margin), *(depth - 1) * [(width, 0)])
        )
        self.features = nn.Sequential(*blocks, nn.Flatten())
        self.classifier = nn.Linear(width * area, num_classes)
