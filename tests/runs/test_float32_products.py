"""The rounding of float32 products: torch has two ways to say it, and readers of both must go on working."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from benchmarks.machine import tf32_allowed
from rtp.runs.float32_products import allow_tf32, float32_products

GPU = torch.device("cuda")
backends: Any = torch.backends


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    newer = [backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn]
    newer += [backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv]
    before = [part.fp32_precision for part in newer]
    yield
    backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    for part, value in zip(newer, before, strict=True):
        part.fp32_precision = value


def set_newer(part: object, value: str) -> Callable[[], None]:
    return lambda: setattr(part, "fp32_precision", value)


BEFORE: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "older, products": lambda: torch.set_float32_matmul_precision("high"),
    "older, medium": lambda: torch.set_float32_matmul_precision("medium"),
    "older, convolutions": lambda: setattr(backends.cudnn, "allow_tf32", False),
    "newer, products": set_newer(backends.cuda.matmul, "tf32"),
    "newer, exact products": set_newer(backends.cuda.matmul, "ieee"),
    "newer, convolutions": set_newer(backends.cudnn.conv, "ieee"),
    "newer, all of cuDNN": set_newer(backends.cudnn, "ieee"),
    "newer, everything": set_newer(backends, "tf32"),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("allowed", [True, False])
def test_both_kinds_of_names_agree_whatever_was_set_before(before: str, allowed: bool) -> None:
    BEFORE[before]()
    allow_tf32(allowed, allowed)
    name = "tf32" if allowed else "ieee"
    assert float32_products(GPU) == {"matrix_products": name, "convolutions": name}
    # Lightning and torch.compile read these, which raise an error if the two ways were mixed
    assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    assert backends.cuda.matmul.allow_tf32 is backends.cudnn.allow_tf32 is allowed
    with backends.cudnn.flags():
        pass


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_context_sets_back_what_it_found(before: str, allowed: bool) -> None:
    BEFORE[before]()
    found = float32_products(GPU)
    with tf32_allowed(allowed):
        assert set(float32_products(GPU).values()) == {"tf32" if allowed else "ieee"}
    assert float32_products(GPU) == found


def test_products_and_convolutions_are_told_apart() -> None:
    allow_tf32(matrix_products=False, convolutions=True)  # torch's defaults
    assert float32_products(GPU) == {"matrix_products": "ieee", "convolutions": "tf32"}
    assert float32_products(torch.device("cpu")) == {"matrix_products": "ieee", "convolutions": "ieee"}
