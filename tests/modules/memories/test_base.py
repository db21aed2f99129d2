"""Recall by every kind of memory against equation 2 written as sums over one-hot queries, and the storage budget."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.pixel import PixelMemory

SHAPE, CLASSES = (3, 8, 8), 4


@pytest.fixture(params=[1, 2])
def downsampling(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=["addressable", "pixel"])
def memory(request: pytest.FixtureRequest, downsampling: int) -> Memory:
    torch.manual_seed(0)
    if request.param == "pixel":
        return PixelMemory(SHAPE, CLASSES, images_per_class=3, downsampling=downsampling).double()
    return AddressableMemory(SHAPE, CLASSES, images_per_class=3, num_bases=5, downsampling=downsampling).double()


def equation_2(memory: Memory, queries: Tensor) -> Tensor:
    """x'_{n,i} = y_n^T A_i B with the addressing matrices written out, then bilinear upsampling."""
    matrices = memory.coefficients().to(queries).transpose(0, 1)  # A: (r, d_y, K)
    images = torch.einsum("nd,rdk,kchw->nrchw", queries, matrices, memory.bases)
    upsampled = F.interpolate(images.flatten(0, 1), SHAPE[1:], mode="bilinear", align_corners=False)
    return upsampled.unflatten(0, images.shape[:2])


def test_recall_by_label_is_equation_2_with_one_hot_queries(memory: Memory) -> None:
    labels = torch.tensor([2, 0, 2])
    expected = equation_2(memory, F.one_hot(labels, CLASSES).double())

    recalled = memory.recall(labels)

    assert recalled.shape == (3, memory.num_slots, *SHAPE)
    torch.testing.assert_close(recalled, expected, rtol=1e-12, atol=1e-12)


def test_recall_by_query_is_equation_2_with_any_vector(memory: Memory) -> None:
    queries = torch.randn(6, CLASSES, dtype=torch.float64)
    torch.testing.assert_close(memory.recall_queries(queries), equation_2(memory, queries), rtol=1e-12, atol=1e-12)


def test_single_slots_are_those_of_the_whole_recall(memory: Memory) -> None:
    labels, slots = torch.tensor([3, 1, 1]), torch.tensor([0, memory.num_slots - 1, 1])
    torch.testing.assert_close(memory.recall_slots(labels, slots), memory.recall(torch.arange(CLASSES))[labels, slots])


def test_recall_is_differentiable_in_every_parameter(memory: Memory) -> None:
    labels, slots = torch.tensor([1, 2]), torch.tensor([0, 1])
    # gradcheck moves the parameters themselves
    assert torch.autograd.gradcheck(lambda *_: memory.recall_slots(labels, slots), tuple(memory.parameters()))


def test_storage_is_within_the_budget(memory: Memory) -> None:
    budget = 3 * CLASSES * math.prod(SHAPE)
    assert memory.storage_floats == sum(p.numel() for p in memory.parameters())
    assert 0.9 * budget < memory.storage_floats <= budget


def test_downsampled_bases_buy_more_slots() -> None:
    # pixels: 3 images of 3*8*8 floats, or 12 of 3*4*4; addressing: (3*4*192 - 5*192) / 20 = 67.2, with 5*48 103.2
    assert PixelMemory(SHAPE, CLASSES, 3, downsampling=1).num_slots == 3
    assert PixelMemory(SHAPE, CLASSES, 3, downsampling=2).num_slots == 12
    assert AddressableMemory(SHAPE, CLASSES, 3, num_bases=5, downsampling=1).num_slots == 67
    assert AddressableMemory(SHAPE, CLASSES, 3, num_bases=5, downsampling=2).num_slots == 103
