"""Settings of the whole process, for a program to change and not for a library."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtp.errors import UserError
from rtp.utils.files import DISK_FAULTS, cache_dir

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt(3)."""


def keep_compilations() -> None:
    """Keep compiled functions in the cache folder, unless the user chose one; /tmp would lose them."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))


def keep_freed_memory() -> bool:
    """Let the C library reuse freed memory for the next tensor instead of returning it to the system.

    Otherwise large tensors consist of fresh pages each time, which the system fills with zeros: for 50 MB that takes
    five times as long as copying 50 MB (docs/performance.md). The process never shrinks.

    Returns:
        Whether it worked: only on Linux with glibc.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    never = -1
    return all(libc.mallopt(*option) == 1 for option in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, never)))


def find_local_modules() -> None:
    """Make modules in the current folder importable, as `python -m` does; not under -P or PYTHONSAFEPATH.

    The folder comes last, so a user's file never hides an installed package.
    """
    if not sys.flags.safe_path:
        sys.path.append(str(Path.cwd()))


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """End the program with a line on standard error for a UserError, and for output on a full disk.

    Raises:
        SystemExit: With the error's exit code; with the shell's for SIGPIPE where the reader, such as head, has seen
            enough.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # at its end Python would report a full disk in lines of its own
    except UserError as error:
        code, line = error.exit_code, str(error)
    except BrokenPipeError:
        code, line = 128 + signal.SIGPIPE, ""
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        code, line = UserError.exit_code, f"the output cannot be written ({error.strerror}): make room for it"
    else:
        return
    if line:
        print(f"rtp: error: {line}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # Python drops at its end what the disk or the reader did not take
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def show_log() -> None:
    """Print the package's log (compilations, memory) to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("rtp: %(message)s"))
    package = logging.getLogger("rtp")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
