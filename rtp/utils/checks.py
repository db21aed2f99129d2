"""Range checks of arguments: one wording, and None for an argument that was not given."""

import math

from rtp.errors import UserError


def check_at_least(name: str, value: float | None, least: float) -> None:
    """Refuse a number below a minimum.

    Args:
        name: The argument's name.
        value: The number; None passes.
        least: The smallest number allowed.

    Raises:
        UserError: If the number is smaller or NaN.
    """
    if value is not None and not value >= least:
        raise UserError(f"{name} must be at least {least:g}, got {value}")


def check_positive(name: str, value: float | None) -> None:
    """Refuse a number that is not above 0.

    Args:
        name: The argument's name.
        value: The number; None passes.

    Raises:
        UserError: If the number is 0, negative or NaN.
    """
    if value is not None and not value > 0:
        raise UserError(f"{name} must be positive, got {value}")


def check_in(name: str, value: float | None, interval: str) -> None:
    """Refuse a number outside an interval.

    Args:
        name: The argument's name.
        value: The number; None passes.
        interval: As mathematics writes it, such as "[0, 1)" or "(0, inf)": a round bracket excludes its end.

    Raises:
        UserError: If the number lies outside or is NaN.
    """
    low, high = map(float, interval[1:-1].split(","))
    if value is None or low < value < high:
        return
    if math.isnan(value) or not ((value == low and interval[0] == "[") or (value == high and interval[-1] == "]")):
        raise UserError(f"{name} must lie in {interval}, got {value}")
