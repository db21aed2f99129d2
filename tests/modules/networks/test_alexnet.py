import pytest
import torch
from torch import nn

from rtp.errors import UserError
from rtp.modules.networks import AlexNet


def test_parameters() -> None:
    def convolution(in_channels: int, width: int, kernel_size: int) -> int:
        return in_channels * kernel_size**2 * width + width + 2 * width  # kernels, biases, norm

    convolutions = (
        convolution(3, 128, 5)
        + convolution(128, 192, 5)
        + convolution(192, 256, 3)
        + convolution(256, 192, 3)
        + convolution(192, 192, 3)
    )
    assert convolutions == 9_984 + 614_976 + 443_136 + 442_944 + 332_352
    with torch.device("meta"):
        network = AlexNet((3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + 192 * 4 * 4 * 10 + 10


def test_poolings_follow_the_first_second_and_fifth_convolution() -> None:
    network = AlexNet((3, 32, 32), 10, widths=(2, 3, 4, 5, 6))
    order = [type(layer) for layer in network.features.children() if isinstance(layer, nn.Conv2d | nn.AvgPool2d)]
    conv, pool = nn.Conv2d, nn.AvgPool2d
    assert order == [conv, pool, conv, pool, conv, conv, conv, pool]


@pytest.mark.parametrize(
    ("image_shape", "padding", "area"), [((1, 28, 28), 4, 16), ((3, 28, 28), 2, 9), ((1, 8, 8), 2, 1)]
)
def test_only_grey_28_pixel_images_are_padded(image_shape: tuple[int, int, int], padding: int, area: int) -> None:
    network = AlexNet(image_shape, 10, widths=(2, 3, 4, 5, 6))
    paddings = [layer.padding for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert paddings == [(padding, padding), (2, 2), (1, 1), (1, 1), (1, 1)]
    assert network.classifier.in_features == 6 * area


def test_too_small_images() -> None:
    with pytest.raises(UserError, match=r"^AlexNet halves the image 3 times, but 7x9 pixels .* 2 times at most"):
        AlexNet((3, 7, 9), 10)
