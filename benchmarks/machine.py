"""What the machine itself can do, and how to time it."""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from rtp.runs.float32_products import allow_tf32, float32_products

MATRIX = 2048
"""Side of the product that gives the machine's rate: large enough to be bound by arithmetic."""
COPIED = 1 << 28
"""Bytes of the copy that gives the machine's bandwidth: larger than a cache."""


def default_device() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """For the report."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@contextmanager
def tf32_allowed(allowed: bool) -> Iterator[None]:
    """Within it a GPU rounds the float32 factors of all products to TF32, or of none; afterwards as before."""
    before = float32_products(torch.device("cuda"))
    allow_tf32(allowed, allowed)
    try:
        yield
    finally:
        allow_tf32(**{name: value == "tf32" for name, value in before.items()})


def product_rate(device: torch.device, dtype: torch.dtype = torch.float32, tf32: bool = False) -> float:
    """Floating-point operations a second of a square matrix product, the best of five."""
    matrix = torch.randn(MATRIX, MATRIX, device=device, dtype=dtype)
    with tf32_allowed(tf32):
        best = min(seconds(lambda: matrix @ matrix, device) for _ in range(5))
    return 2 * MATRIX**3 / best


def copy_rate(device: torch.device) -> float:
    """Bytes a second that are read and written by a copy, the best of five."""
    source = torch.zeros(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / min(seconds(lambda: target.copy_(source), device) for _ in range(5))


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """The most memory in use while a function runs, on top of what was before: a GPU's, or the process's own.

    On a CPU call it in a new process, whose allocator has nothing to hand out again, and on Linux.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak, see proc(5)
    before = _status("VmRSS")
    function()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Time functions in turn, round by round, as machines drift: trust the ratios."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function, device))
    return times


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """The middle of each list."""
    return {name: statistics.median(values) for name, values in times.items()}
