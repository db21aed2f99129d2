import pytest
import torch

from rtp.errors import UserError
from rtp.modules.networks import ResNet12


def test_parameters() -> None:
    def block(in_channels: int, width: int) -> int:
        # three 3x3 convolutions and a 1x1 shortcut, without biases, and their four norms
        return 9 * in_channels * width + 2 * 9 * width * width + in_channels * width + 4 * 2 * width

    blocks = block(3, 64) + block(64, 128) + block(128, 256) + block(256, 512)
    assert blocks == 76_160 + 377_856 + 1_509_376 + 6_033_408
    with torch.device("meta"):
        network = ResNet12((3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == blocks + 512 * 2 * 2 * 10 + 10


@pytest.mark.parametrize(
    ("image_shape", "area"), [((1, 16, 16), 1), ((1, 28, 28), 1), ((3, 32, 32), 4), ((3, 64, 64), 16)]
)
def test_the_linear_layer_reads_the_whole_map(image_shape: tuple[int, int, int], area: int) -> None:
    network = ResNet12(image_shape, 10, widths=(2, 2, 2, 3))
    assert network.classifier.in_features == 3 * area


def test_a_block_adds_its_shortcut() -> None:
    block = ResNet12((2, 16, 16), 10, widths=(4, 2, 2, 2)).features.get_submodule("0")
    torch.nn.init.zeros_(block.get_parameter("residual.7.weight"))  # the residual branch's last norm
    maps = torch.randn(3, 2, 6, 6)
    shortcut = block.get_submodule("shortcut")(maps)
    expected = torch.where(shortcut > 0, shortcut, 0.1 * shortcut)
    assert torch.equal(block(maps), expected.view(3, 4, 3, 2, 3, 2).amax((3, 5)))


def test_too_small_images() -> None:
    with pytest.raises(UserError, match=r"^ResNet12 halves the image 4 times, but 8x8 pixels .* 3 times at most"):
        ResNet12((1, 8, 8), 10)
