"""The initialisation of an addressable memory."""

import math

import pytest
import torch

from rtp.modules.memories.addressable import AddressableMemory

SHAPE, CLASSES = (3, 8, 8), 4


@pytest.mark.parametrize(
    ("init", "basis_bound", "matrix_bound"),
    [
        # the tensors' matrices are (K, d) = (20, 3*4*4) and (d_y, K) = (4, 20)
        ("kaiming_uniform", math.sqrt(6 / 48), math.sqrt(6 / 20)),
        ("xavier_uniform", math.sqrt(6 / (48 + 20)), math.sqrt(6 / (20 + 4))),
    ],
)
def test_initialisation_fills_its_bounds(init: str, basis_bound: float, matrix_bound: float) -> None:
    torch.manual_seed(0)
    memory = AddressableMemory(SHAPE, CLASSES, 10, num_bases=20, downsampling=2, init=init)  # type: ignore[arg-type]
    for tensor, bound in ((memory.bases, basis_bound), (memory.addressing, matrix_bound)):
        assert tensor.abs().max() <= bound
        assert tensor.abs().max() > 0.95 * bound
        # a uniform distribution's standard deviation is bound / sqrt(3); about 1,000 samples give 5 %
        torch.testing.assert_close(tensor.std().item(), bound / math.sqrt(3), rtol=0.05, atol=0)


def test_a_learned_rate_is_a_number_of_the_budget() -> None:
    torch.manual_seed(0)
    # 2 bases of 48 numbers and 12 matrices of 4 x 2 fill one image of 192 numbers for each of 4 classes but for ... 0
    full = AddressableMemory((3, 8, 8), 4, 1, num_bases=2)
    assert full.storage_floats == 768 == full.bases.numel() + full.addressing.numel()
    assert full.rate_factor is None
    rated = AddressableMemory((3, 8, 8), 4, 1, num_bases=2, learned_rate=True)
    assert rated.num_slots == full.num_slots - 1
    assert rated.storage_floats == 768 - 8 + 1
    assert rated.rate_factor == 1
    assert set(rated.to_tensors()) == {"bases", "addressing"}  # a file has the rate in its protocol


def test_initialisation_is_torchs_for_a_matrix_of_that_shape() -> None:
    torch.manual_seed(3)
    expected = torch.nn.init.kaiming_uniform_(torch.empty(5, 48))
    torch.manual_seed(3)
    memory = AddressableMemory(SHAPE, CLASSES, 3, num_bases=5, downsampling=2)
    torch.testing.assert_close(memory.bases.detach().flatten(1), expected)
