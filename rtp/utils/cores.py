"""Threads on cores that other programs leave idle."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

log = logging.getLogger(__name__)


def use_free_cores() -> None:
    """Use as many threads as other programs leave cores idle, and say so; warn where OMP_NUM_THREADS sets more.

    OpenMP's threads busy-wait for each other at every operation: with one thread too many, a small network was a
    hundred times as slow as on one thread (docs/log.md).
    """
    threads = torch.get_num_threads()
    if threads == 1 or (usage := core_usage()) is None:
        return
    busy, cores = usage
    if threads <= cores - busy + 0.5:  # short tasks of the system keep about half a core busy
        return
    free = max(1, round(cores - busy))
    if os.environ.get("OMP_NUM_THREADS"):
        log.warning(
            "other programs keep %.1f of %d cores busy and OMP_NUM_THREADS=%s: set it to %d, or threads wait for each "
            "other and all is slow",
            *(busy, cores, os.environ["OMP_NUM_THREADS"], free),
        )
    else:
        torch.set_num_threads(free)
        log.warning(
            "other programs keep %.1f of %d cores busy: this one uses %d of %d threads (set OMP_NUM_THREADS to choose)",
            *(busy, cores, free, threads),
        )


@contextmanager
def kept_threads() -> Iterator[None]:
    """Set the number of threads back on leaving: a library must not change its program's."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def core_usage(seconds: float = 0.1) -> tuple[float, int] | None:
    """Busy cores while this program waits, and all cores; None outside Linux."""
    if sys.platform != "linux":
        return None
    idle_before, total_before, cores = _cpu_times()
    time.sleep(seconds)
    idle, total, _ = _cpu_times()
    return cores * (1 - (idle - idle_before) / max(1, total - total_before)), cores


def _cpu_times() -> tuple[int, int, int]:
    """Idle and total ticks of all cores together, and number of cores; see proc(5)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    ticks = list(map(int, lines[0][1:9]))  # user, nice, system, idle, iowait, irq, softirq, steal
    return sum(ticks[3:5]), sum(ticks), len(lines) - 1
