import pytest
import torch
from torch import nn

from rtp.errors import UserError
from rtp.modules.networks import ConvNet


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_for_32_pixels() -> None:
    first = 3 * 9 * 128 + 128 + 2 * 128  # 3x3 kernels, biases, norm: 3,840
    later = 128 * 9 * 128 + 128 + 2 * 128  # 147,840
    linear = 128 * 4 * 4 * 10 + 10  # 20,490
    assert first + 2 * later + linear == 320_010
    assert num_parameters(ConvNet((3, 32, 32), 10)) == 320_010


def test_parameters_for_64_pixels() -> None:
    # a fourth block halves 64 to 4 pixels
    assert num_parameters(ConvNet((3, 64, 64), 200, depth=4)) == 3_840 + 3 * 147_840 + 2048 * 200 + 200


@pytest.mark.parametrize(
    ("image_shape", "padding", "num_features"),
    [
        ((1, 28, 28), 3, 5 * 4 * 4),
        ((3, 28, 28), 1, 5 * 3 * 3),
        ((1, 32, 32), 1, 5 * 4 * 4),
        ((1, 8, 8), 1, 5),
    ],
)
def test_only_grey_28_pixel_images_are_padded(
    image_shape: tuple[int, int, int], padding: int, num_features: int
) -> None:
    network = ConvNet(image_shape, 10, width=5)
    paddings = [layer.padding for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert paddings == [(padding, padding), (1, 1), (1, 1)]
    assert network.classifier.in_features == num_features


def test_padding_equals_zeros_around_the_image() -> None:
    padded_network, network = ConvNet((1, 28, 28), 10, width=5), ConvNet((1, 32, 32), 10, width=5)
    network.load_state_dict(padded_network.state_dict())
    image = torch.randn(1, 1, 28, 28)
    torch.testing.assert_close(padded_network(image), network(nn.functional.pad(image, (2, 2, 2, 2))))


def test_images_of_one_pixel_after_the_last_pooling() -> None:
    torch.manual_seed(0)
    logits = ConvNet((1, 8, 8), 10, width=16)(torch.rand(4, 1, 8, 8))
    assert logits.std(dim=0).min() > 1e-3  # the norm does not erase the images


def test_too_deep() -> None:
    with pytest.raises(UserError, match=r"^ConvNet of depth 4 halves .* 8x8 pixels .* ConvNet of depth <= 3,"):
        ConvNet((1, 8, 8), 10, depth=4)
