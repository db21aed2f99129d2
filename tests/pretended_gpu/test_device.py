"""The pretended device notices what a real one would refuse."""

import pytest
import torch
from torch.nn.functional import grid_sample

from tests.pretended_gpu.device import COUNTS, pretended_gpu


def test_it_computes_and_says_where_its_results_are() -> None:
    with pretended_gpu() as gpu:
        ours = torch.arange(6.0).view(2, 3).to(gpu)
        product = ours @ ours.T
        assert (product.device, product.is_cuda) == (gpu, True)
        assert product.cpu().tolist() == [[5, 14], [14, 50]]


def test_a_mix_is_noticed() -> None:
    with pretended_gpu() as gpu:
        with pytest.raises(RuntimeError, match="with one of the host"):
            torch.zeros(3, device=gpu) + torch.zeros(3)
        with pytest.raises(RuntimeError, match="with one of the host"):
            torch.zeros(3).index_add_(0, torch.zeros(3, dtype=torch.long, device=gpu), torch.ones(3))
        with pytest.raises(RuntimeError, match="the generator"):
            torch.randperm(3, device=gpu, generator=torch.Generator())
        with pytest.raises(RuntimeError, match="the generator"):
            torch.randperm(3, generator=torch.Generator(gpu))


def test_what_waits_is_counted() -> None:
    with pretended_gpu() as gpu:
        numbers = torch.zeros(3, device=gpu)
        numbers += 1
        assert COUNTS["waits"] == 0
        assert float(numbers.sum()) == 3
        numbers.cpu(), numbers.tolist(), numbers.nonzero()
        assert COUNTS["waits"] == 4


def test_an_operation_without_a_deterministic_kernel_is_noticed() -> None:
    images = torch.randn(1, 1, 3, 3)

    def moved() -> None:
        with pretended_gpu() as gpu:
            there = images.to(gpu).requires_grad_()
            grid_sample(there, torch.zeros(1, 2, 2, 2, device=gpu), align_corners=False).sum().backward()

    moved()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match=r"in a backward pass: .*deterministic"):
            moved()
    finally:
        torch.use_deterministic_algorithms(False)
