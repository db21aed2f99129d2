"""Downloads that are whole or leave nothing, and their errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtp.datamodules.base import one_line
from rtp.errors import DataError
from rtp.utils.files import DISK_FAULTS, disk_fault, temporary_folder


@contextmanager
def downloading(name: str, root: Path, files: tuple[str, ...], by_hand: str) -> Iterator[Path]:
    """Download files of a data set all or none: half a file would be read as a damaged one by every later run.

    Args:
        name: Name of the data set, for the errors.
        root: Data root, created if missing.
        files: The files that are missing, relative to the data root; those beside them stay as they are.
        by_hand: What a user without a network puts into the data root.

    Yields:
        The folder to download into in place of `root`; then the files are moved, and what else lies there is deleted.

    Raises:
        DataError: If the download fails (OSError, RuntimeError) or the data root takes no files.
    """
    try:
        with temporary_folder(root) as folder:
            yield folder
            for file in files:
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).replace(root / file)
    except (OSError, RuntimeError) as error:
        fault = disk_fault(error)
        if isinstance(fault, PermissionError) or (isinstance(fault, OSError) and fault.errno in DISK_FAULTS):
            remedy = "make room, or set root or RTP_DATA_DIR to a folder that takes it"
        else:
            remedy = f"put {by_hand} into {root} by hand"
        raise DataError(f"{name} cannot be downloaded into {root} ({one_line(fault)}): {remedy}.") from error
