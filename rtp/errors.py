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


def first_line(error: BaseException) -> str:
    """The first line of a library's error message, or its class if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
