"""Work that several processes could do, and one of them does: the lock of a file, which ends with its process."""

from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path


@contextmanager
def locked(file: Path, wait: bool) -> Iterator[bool]:
    """Take a file for this process.

    Args:
        file: Made, with its folder, where it is missing; what is in it does not matter.
        wait: Whether to wait until no other process has it.

    Yields:
        Whether no other process has it. A process that ends, in whichever way, gives it back.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        try:
            flock(opened, LOCK_EX | (0 if wait else LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
