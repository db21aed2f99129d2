"""Errors that a user can mend: one sentence that names the value and the fix, shown without a traceback."""


class UserError(ValueError):
    """Something in the command, the configuration or the data is not usable.

    The command line prints the message alone and exits with `exit_code`; library users catch it as a ValueError.
    """

    exit_code = 2


class DataError(UserError):
    """A data file is missing, truncated or of the wrong kind."""


class DivergenceError(UserError):
    """The loss of an outer step or its gradient is not a finite number any more."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """What an error of a library says first, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
