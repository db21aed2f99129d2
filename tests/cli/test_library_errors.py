"""What libraries raise for a user's mistake becomes a line; a bug keeps its traceback."""

import errno

import pytest
import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException

from rtp.cli.library_errors import as_user_error
from rtp.cli.parse_errors import user_errors
from rtp.errors import UserError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/test.json"), "run/test.json: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied: make room, or choose"),
        (OSError(errno.EROFS, "Read-only file system"), "the output or a file: Read-only file system"),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), "a file is not UTF-8 text"),
        (RecursionError("maximum recursion depth"), "a configuration is nested too deeply"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory (CUDA out of memory.)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"), "out of memory (Default"),
        (UserError("as it is"), "as it is"),
    ],
)
def test_known_errors_are_one_line(error: BaseException, message: str) -> None:
    found = as_user_error(error)
    assert found is not None
    assert str(found).startswith(message)
    assert "\n" not in str(found)


@pytest.mark.parametrize("options", [{"accelerator": "gpux"}, {"devices": 0, "accelerator": "cpu"}, {"precision": 7}])
def test_what_lightning_raises_is_one_line(options: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught, user_errors():
        Trainer(**options, logger=False)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("of rtp"), ZeroDivisionError(), KeyError("x"), BrokenPipeError(32, "x")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert as_user_error(error) is None
    with pytest.raises(type(error)), user_errors():
        raise error


def test_a_misconfiguration_in_rtp_s_own_code_is_not_hidden() -> None:
    with pytest.raises(MisconfigurationException), user_errors():
        raise MisconfigurationException("raised here, in a test")
