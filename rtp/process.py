"""Settings of the whole process, which programs make and a library must not."""

import ctypes
import logging
import os
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt(3)."""


def cache_dir() -> Path:
    """The folder of what is kept between runs: `$XDG_CACHE_HOME/rtp`, or `~/.cache/rtp`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rtp"


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
