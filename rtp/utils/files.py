"""Files on disk: atomic writes, locks between processes, and the cache folder."""

import errno
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from rtp.errors import UserError

MANIFEST = "export.json"
"""File of an exported folder that lists the others."""

DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""A full disk, a full quota, a file above the largest size, a read-only disk, a broken one."""


def cache_dir() -> Path:
    """The folder of files cached between runs: `$XDG_CACHE_HOME/rtp`, or `~/.cache/rtp`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rtp"


@contextmanager
def atomic_path(path: Path, *, previous: Path | None = None, shared: bool = False) -> Iterator[Path]:
    """Write a file so that readers find the whole old or new file, even if the process is killed.

    The content is written under another name in the same folder, synced to disk and renamed.

    Args:
        path: The file; its folder is created if missing.
        previous: Where to keep the replaced file; by default it is not kept.
        shared: Whether other processes may write the same file at the same time. The temporary name is then unique,
            or else `path` with `.part`, so that the next write overwrites the remains of a killed process.

    Yields:
        The name to write under.

    Raises:
        OSError: If the file cannot be written; the old file stays. Its `filename` is the file's or that of a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_temporary_name(path.parent)}.part" if shared else f"{path.name}.part")
    try:
        yield part
        _sync(part)
        if previous is not None and path.exists():
            path.replace(previous)
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        fault = disk_fault(error)
        if isinstance(fault, OSError) and fault.filename in (None, str(part)):
            # a full disk's error names no file, and others name the temporary one
            fault.filename, fault.filename2 = str(path), None
        if fault is not error:
            raise fault from None
        raise
    _sync(path.parent)  # a file's fsync does not sync its new name


@contextmanager
def atomic_write(path: Path, *, previous: Path | None = None, shared: bool = False) -> Iterator[BinaryIO]:
    """Open a file to be written as by `atomic_path`, with its arguments and errors."""
    with atomic_path(path, previous=previous, shared=shared) as part, part.open("wb") as file:
        yield file


def disk_fault(error: BaseException) -> BaseException:
    """The disk's error (`DISK_FAULTS`) where a library raised its own upon it, as torch.save does, or the error."""
    cause: BaseException | None = error if isinstance(error, Exception) else None
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FAULTS:
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_whole(file: FileIO, content: bytes) -> None:
    """Append to an unbuffered file all or nothing.

    Raises:
        OSError: If the disk does not take all of it; the file is as long as before.
    """
    size = file.seek(0, os.SEEK_END)
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(size)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain values as JSON, atomically; the folder is created if missing.

    Raises:
        UserError: If it cannot be written; the old file stays.
    """
    with new_file(path, overwrite=True) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _temporary_name(parent: Path) -> str:
    """A unique name for what is being written into a folder, which is first cleared of what killed processes left."""
    for left in parent.glob(f".rtp-{socket.gethostname()}-*"):
        process = left.name.rpartition("@")[2].partition(".")[0]
        if process.isdigit() and not _runs(int(process)):
            with suppress(OSError):  # of another user
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
    return f".rtp-{socket.gethostname()}-{secrets.token_hex(8)}@{os.getpid()}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; no number of a process
        return True
    return True


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder inside `parent`, which is created if missing: from it files are renamed to their places in one step.

    It is removed at the end, and by the next such folder if this process is killed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / _temporary_name(parent)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """Write a file that a user named, atomically; the folders above are created.

    Raises:
        UserError: If it is a folder, exists already without `overwrite`, or cannot be written.
    """
    if path.is_dir():
        raise UserError(f"{str(path)!r} is a folder: give the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{str(path)!r} exists: choose another name, or replace it with --overwrite")
    with write_errors(path), atomic_write(path, shared=True) as file:
        yield file


def write_folder(path: Path, overwrite: bool, fill: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name and rename it once complete.

    Its file `export.json` lists the others. Files that somebody added are never deleted.

    Args:
        path: The folder; those above are created.
        overwrite: Whether to replace an earlier export that contains nothing else.
        fill: Writes the files into the folder it is given.

    Raises:
        UserError: If something else exists there, or the folder cannot be written.
    """
    exists = os.path.lexists(path)
    if exists and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{str(path)!r} exists: choose another name, or replace an earlier export with --overwrite")
    if exists:
        _check_exported(path)
    with write_errors(path), temporary_folder(path.parent) as folder:
        unfinished = folder / "unfinished"
        unfinished.mkdir()
        fill(unfinished)
        files = sorted(file.relative_to(unfinished).as_posix() for file in unfinished.rglob("*") if file.is_file())
        (unfinished / MANIFEST).write_text(json.dumps({"files": files}, indent=0) + "\n", encoding="utf-8")
        if exists:
            os.replace(path, folder / "replaced")
        os.replace(unfinished, path)


@contextmanager
def locked(file: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock between processes and yield whether this process holds it; `wait` blocks until it does.

    The lock's file and folder are created if missing. A process that ends, even killed, releases its locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    with suppress(Timeout):
        lock.acquire(blocking=wait)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _check_exported(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder of an earlier export: choose another name")
    try:
        listed = {MANIFEST, *json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        listed = set()
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if name not in listed and (file.is_symlink() or not file.is_dir()):
            raise UserError(f"{str(folder)!r} holds {name!r}, which no export wrote: choose another folder")


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what keeps a file or folder from being written into a UserError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{str(path)!r} cannot be written ({reason}): make room or choose another place") from error
