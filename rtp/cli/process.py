"""Settings of the whole process, which programs make and a library must not."""

import ctypes
import logging
import os
import sys
import time
from pathlib import Path

from rtp.utils.files import cache_dir

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt(3)."""


def keep_compilations() -> None:
    """Keep compiled functions in the cache folder, unless the user has said where; /tmp forgets them."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensor, in place of giving it back to the system.

    Large tensors otherwise consist of fresh pages each time, which the system fills with zeros: for 50 MB that takes
    five times as long as copying 50 MB (docs/performance.md). The process stays as large as it has ever been.

    Returns:
        Whether it was done: not outside of Linux with glibc.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    never = -1
    return all(libc.mallopt(*option) == 1 for option in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, never)))


def warn_of_busy_cores(threads: int) -> None:
    """Say so where other programs leave fewer cores than there are threads.

    OpenMP's threads wait for each other at every operation, and actively: where one of them has no core, a small
    network was a hundred times as slow as on one thread (docs/log.md).

    Args:
        threads: Threads that an operation is shared out among.
    """
    if threads == 1 or (usage := core_usage()) is None:
        return
    busy, cores = usage
    if threads > cores - busy + 0.5:  # half a core is what short tasks of the system come and go with
        log.warning(
            "other programs keep %.1f of %d cores busy and this one has %d threads: set OMP_NUM_THREADS=%d, or they "
            "wait for each other and all is slow",
            *(busy, cores, threads, max(1, round(cores - busy))),
        )


def core_usage(seconds: float = 0.1) -> tuple[float, int] | None:
    """How many cores are busy while this program waits, and how many there are; None where the system is not Linux."""
    if sys.platform != "linux":
        return None
    idle_before, total_before, cores = _cpu_times()
    time.sleep(seconds)
    idle, total, _ = _cpu_times()
    return cores * (1 - (idle - idle_before) / max(1, total - total_before)), cores


def _cpu_times() -> tuple[int, int, int]:
    """Ticks that all cores together were idle, ticks in all, and cores; see proc(5)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, lines[0][1:9])
    return idle + iowait, user + nice + system + idle + iowait + irq + softirq + steal, len(lines) - 1


def find_local_modules() -> None:
    """Let classes in the current folder be named, as `python -m` does, whichever way the program was started.

    The folder comes last, so a file of the user's never takes the place of an installed package. Python's own switch
    against it, -P or PYTHONSAFEPATH, is respected.
    """
    if not sys.flags.safe_path:
        sys.path.append(str(Path.cwd()))


def show_log() -> None:
    """Print what the package has to say (compilations, memory) to the error stream, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("rtp: %(message)s"))
    package = logging.getLogger("rtp")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
