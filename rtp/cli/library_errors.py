"""Errors of the libraries below rtp, for what a user can mend: one line with the fix."""

import traceback

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from rtp.errors import UserError

SPEAKING = ("lightning", "jsonargparse", "yaml")
"""Packages whose own ValueErrors, TypeErrors and RuntimeErrors are about what they were given."""


def as_user_error(error: BaseException) -> UserError | None:
    """The error in one line if a user can mend it, or None for one that a traceback serves better.

    Args:
        error: Anything that a command raised.
    """
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return UserError(f"a file is not UTF-8 text ({text}): save it as UTF-8")
    if isinstance(error, RecursionError):
        return UserError("a configuration is nested too deeply: write it with fewer levels")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return UserError(
            f"out of memory ({text[:100] or type(error).__name__}): lower --data.real_images_per_class, "
            "--model.unroll.num_steps or the network's width"
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
        return UserError(
            f"{error.filename or 'the output or a file'}: {error.strerror}: make room, or choose another place"
        )
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if any(module.endswith("checkpoint_connector") for module in modules) and isinstance(error, Exception):
        return UserError(f"the checkpoint is damaged or of another configuration ({type(error).__name__} {text[:200]})")
    mistakes = MisconfigurationException | ValueError | TypeError | RuntimeError | NotImplementedError | LookupError
    if isinstance(error, mistakes) and modules and modules[-1].partition(".")[0] in SPEAKING:
        return UserError(text)
    return None
