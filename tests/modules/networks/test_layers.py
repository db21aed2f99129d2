import pytest
import torch
from torch.nn.functional import instance_norm as torch_instance_norm

from rtp.errors import UserError
from rtp.modules.networks.layers import grey_margin, instance_norm, pooled_area


def test_instance_norm_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 4, 6, generator=generator)
    norm = instance_norm(5)
    assert norm.weight.tolist() == [1] * 5
    assert norm.bias.tolist() == [0] * 5
    torch.nn.init.normal_(norm.weight, generator=generator)
    torch.nn.init.normal_(norm.bias, generator=generator)
    expected = torch_instance_norm(maps, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    torch.testing.assert_close(norm(maps), expected)


@pytest.mark.parametrize(
    ("image_shape", "margin"),
    [((1, 28, 28), 2), ((3, 28, 28), 0), ((1, 32, 32), 0), ((1, 8, 8), 0), ((1, 28, 20), 0)],
)
def test_grey_margin(image_shape: tuple[int, int, int], margin: int) -> None:
    assert grey_margin(image_shape) == margin


@pytest.mark.parametrize(
    ("image_shape", "num_poolings", "margin", "area"),
    [
        ((3, 32, 32), 3, 0, 4 * 4),
        ((3, 64, 32), 4, 0, 4 * 2),
        ((1, 28, 28), 3, 0, 3 * 3),  # 28, 14, 7, 3
        ((1, 28, 28), 3, 2, 4 * 4),
        ((1, 8, 15), 3, 0, 1 * 1),
        ((1, 1, 1), 0, 0, 1),
    ],
)
def test_pooled_area(image_shape: tuple[int, int, int], num_poolings: int, margin: int, area: int) -> None:
    assert pooled_area(image_shape, num_poolings, "Net", margin) == area


def test_too_many_poolings() -> None:
    message = r"^Net halves the image 5 times, but 40x31 pixels can be halved 4 times at most; use a ConvNet "
    with pytest.raises(UserError, match=message + r"of depth <= 4, an MLP or larger images$"):
        pooled_area((3, 40, 31), 5, "Net")
