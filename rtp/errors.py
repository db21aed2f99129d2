"""Errors that a user can fix: one sentence that names the value and the fix, shown without a traceback."""


class UserError(ValueError):
    """The command, the configuration or the data cannot be used.

    The command line prints the message alone and exits with `exit_code`; library users catch it as a ValueError.
    """

    exit_code = 2


class DataError(UserError):
    """A data file is missing, truncated or of the wrong kind."""


class DivergenceError(UserError):
    """NaN or infinite outer loss, or gradient of it."""

    exit_code = 1


class StoppedError(UserError):
    """A signal stopped the training of a program; `exit_code` is the shell's for it, such as 143 for SIGTERM."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """The first line of a library's error message, or its class if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
