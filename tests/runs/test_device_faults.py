"""Faults of a device are told from what another way of computing can mend."""

import pytest
import torch

from rtp.runs.device_faults import is_device_fault

FAULTS = [
    torch.AcceleratorError("CUDA error: device-side assert triggered", 710),
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might ..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasSgemm"),
]
OTHERS = [
    RuntimeError("No working C++ compiler found"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("expected a CUDA tensor"),
]


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_is_found_in_whatever_wraps_it(error: Exception) -> None:
    outer = ValueError("the compiler failed")
    outer.__cause__ = error
    assert is_device_fault(error)
    assert is_device_fault(outer)
    assert not is_device_fault(ValueError("the compiler failed"))


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_are_none(error: Exception) -> None:
    assert not is_device_fault(error)


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert not is_device_fault(first)
