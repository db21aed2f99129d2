"""ResNet-12, the residual network of few-shot learning."""

from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d

from rtp.modules.networks.base import Network
from rtp.modules.networks.layers import normalised_convolution, pooled_area, require_positive

_NEGATIVE_SLOPE = 0.1  # of LeakyReLU, as in [1]


class ResNet12(Network):
    """Four residual blocks of three 3x3 convolutions, then one linear layer (section A.1).

    The ResNet-12 of few-shot learning [1], without DropBlock and with the widths of section A.1. As that section says,
    InstanceNorm replaces BatchNorm, and the linear layer reads the whole last map instead of its average. The authors'
    code has a smaller network under this name: one convolution, then four blocks of two convolutions, with ReLU and
    average pooling.

    [1] Lee et al., "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.

    Args:
        image_shape: (C, H, W); H and W at least 16.
        widths: Channels of the four blocks; the defaults are those of section A.1.

    Raises:
        UserError: If a width is below 1, or if the images are too small.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        widths: tuple[int, int, int, int] = (64, 128, 256, 512),
    ) -> None:
        super().__init__(image_shape, num_classes)
        require_positive("widths", *widths)
        area = pooled_area(image_shape, len(widths), "ResNet12")
        in_channels = (image_shape[0], *widths[:-1])
        self.features = nn.Sequential(
            *(_ResidualBlock(channels, width) for channels, width in zip(in_channels, widths, strict=True)),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(widths[-1] * area, num_classes)


class _ResidualBlock(nn.Module):
    """Three convolutions beside a 1x1 shortcut; their sum is activated and max-pooled to half its size."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        # no biases, as in [1]: the norms would subtract them
        self.residual = nn.Sequential(
            *normalised_convolution(in_channels, width, kernel_size=3, bias=False),
            nn.LeakyReLU(_NEGATIVE_SLOPE),
            *normalised_convolution(width, width, kernel_size=3, bias=False),
            nn.LeakyReLU(_NEGATIVE_SLOPE),
            *normalised_convolution(width, width, kernel_size=3, bias=False),
        )
        self.shortcut = nn.Sequential(*normalised_convolution(in_channels, width, kernel_size=1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, width, h // 2, w // 2)."""
        total = self.residual(maps) + self.shortcut(maps)
        return max_pool2d(leaky_relu(total, _NEGATIVE_SLOPE), 2)
