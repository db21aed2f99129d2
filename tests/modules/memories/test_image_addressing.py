"""Recall by images: equation 2 with y = h(image), gradients to all three parts, and queries of the wrong width."""

import pytest
import torch
from torch import Tensor, nn

from rtp.errors import UserError
from rtp.modules import ConvNet, ImageAddressedMemory

SHAPE = (1, 4, 4)


def convnet(image_shape: tuple[int, int, int], query_dim: int) -> ConvNet:
    return ConvNet(image_shape, query_dim, width=3, depth=1)


@pytest.fixture
def memory() -> ImageAddressedMemory:
    torch.manual_seed(0)
    return ImageAddressedMemory(SHAPE, 7, convnet, query_dim=5, num_bases=4, num_slots=3, downsampling=1)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_recall_is_equation_2_of_the_query(memory: ImageAddressedMemory, images: Tensor) -> None:
    queries = memory.feature_network(images)
    expected = torch.einsum("nd,rdk,kcxy->nrcxy", queries, memory.addressing, memory.bases)
    recalled = memory.recall_images(images)
    assert recalled.shape == (2, 3, *SHAPE)
    torch.testing.assert_close(recalled, expected)


def test_bases_of_half_the_size_are_upsampled(images: Tensor) -> None:
    memory = ImageAddressedMemory(SHAPE, 7, convnet, query_dim=5, num_bases=4, num_slots=3, downsampling=2)
    assert memory.bases.shape == (4, 1, 2, 2)
    assert memory.recall_images(images).shape == (2, 3, *SHAPE)


def test_all_that_is_learned_is_charged(memory: ImageAddressedMemory) -> None:
    network = sum(weight.numel() for weight in memory.feature_network.parameters())
    assert memory.storage_floats == 4 * 16 + 3 * 5 * 4 + network


def test_the_gradient_of_all_parts_is_that_of_finite_differences(memory: ImageAddressedMemory, images: Tensor) -> None:
    memory.double()
    weights = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value() -> Tensor:
        return (memory.recall_images(images.double()) * weights).sum()

    value().backward()
    for name, parameter in memory.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        assert parameter.grad is not None
        slope, step = float((parameter.grad * direction).sum()), 1e-6
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            above = value()
            parameter.sub_(direction, alpha=2 * step)
            below = value()
            parameter.add_(direction, alpha=step)
        assert float(above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-8), name
        assert abs(slope) > 1e-8 or "0.0.bias" in name  # InstanceNorm takes the first convolution's bias away


def test_images_for_classes_make_an_ordinary_memory(memory: ImageAddressedMemory, images: Tensor) -> None:
    labelled = memory.addressed_by(images)
    torch.testing.assert_close(labelled.recall(torch.tensor([1, 0])), memory.recall_images(images)[[1, 0]])
    assert labelled.coefficients().shape == (2, 3, 4)
    assert not any(parameter.requires_grad for parameter in labelled.parameters())
    assert all(parameter.requires_grad for parameter in memory.parameters())


def test_queries_of_the_wrong_width_are_refused(memory: ImageAddressedMemory) -> None:
    with pytest.raises(UserError, match=r"queries are \(2, 6\), but the memory takes \(n, 5\)"):
        memory.recall_queries(torch.zeros(2, 6))

    class Narrow(nn.Sequential):
        def __init__(self, image_shape: tuple[int, int, int], query_dim: int) -> None:
            super().__init__(nn.Flatten(), nn.Linear(16, query_dim - 1))

    with pytest.raises(UserError, match=r"Narrow makes queries of the shape \(4,\), not of 5 numbers: let it have"):
        ImageAddressedMemory(SHAPE, 7, Narrow, query_dim=5)


@pytest.mark.parametrize("name", ["query_dim", "num_bases", "num_slots"])
def test_sizes_below_1_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        ImageAddressedMemory(SHAPE, 7, convnet, **{name: 0})  # type: ignore[arg-type]
