"""Shared parts of the networks."""

from torch import nn

from rtp.errors import UserError


def instance_norm(width: int) -> nn.GroupNorm:
    """InstanceNorm with a scale and a shift per channel, as the authors' code has it: one channel per group."""
    return nn.GroupNorm(width, width)


def normalised_convolution(
    in_channels: int, width: int, kernel_size: int, margin: int = 0, bias: bool = True
) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the image size, plus `margin` pixels on each side, and its norm."""
    convolution = nn.Conv2d(in_channels, width, kernel_size, padding=kernel_size // 2 + margin, bias=bias)
    return convolution, instance_norm(width)


def grey_margin(image_shape: tuple[int, int, int]) -> int:
    """Pixels that the first convolution adds on each side: grey 28-pixel images (MNIST, FashionMNIST) are padded to 32.

    The authors' code pads every grey image by 2 pixels; here the others keep their size.
    """
    return 2 if image_shape == (1, 28, 28) else 0


def pooled_area(image_shape: tuple[int, int, int], num_poolings: int, network: str, margin: int = 0) -> int:
    """Pixels of the map after 2x2 poolings that round down, with `margin` pixels added to each side.

    Raises:
        UserError: If no pixel remains; names the `network`.
    """
    _, height, width = image_shape
    padded_height, padded_width = height + 2 * margin, width + 2 * margin
    most_poolings = min(padded_height, padded_width).bit_length() - 1  # floor(log2)
    if num_poolings > most_poolings:
        raise UserError(
            f"{network} halves the image {num_poolings} times, but {height}x{width} pixels can be halved "
            f"{most_poolings} times at most; use a ConvNet of depth <= {most_poolings}, an MLP or larger images"
        )
    return (padded_height >> num_poolings) * (padded_width >> num_poolings)


def require_positive(name: str, *values: int) -> None:
    """Raise UserError if a width or depth is below 1."""
    if min(values) < 1:
        raise UserError(f"{name} must be at least 1, got {', '.join(map(str, values))}")
