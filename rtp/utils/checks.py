"""Range checks of arguments: one wording, and None for an argument that was not given."""

import math

from rtp.errors import UserError


def check_at_least(name: str, value: float | None, least: float) -> None:
    """Raise UserError if `value` is below `least` or NaN; None passes."""
    if value is not None and not value >= least:
        raise UserError(f"{name} must be at least {least:g}, got {value}")


def check_at_most(name: str, value: float | None, most: float) -> None:
    """Raise UserError if `value` is above `most` or NaN; None passes."""
    if value is not None and not value <= most:
        raise UserError(f"{name} must be at most {most:g}, got {value}")


def check_positive(name: str, value: float | None) -> None:
    """Raise UserError if `value` is 0, negative, infinite or NaN; None passes."""
    if value is not None and not 0 < value < math.inf:
        raise UserError(f"{name} must be positive{' and finite' if value == math.inf else ''}, got {value}")


def check_in(name: str, value: float | None, interval: str) -> None:
    """Raise UserError if `value` lies outside `interval` or is NaN; None passes.

    The interval is written as in mathematics, such as "[0, 1)" or "(0, inf)": a round bracket excludes its end.
    """
    low, high = map(float, interval[1:-1].split(","))
    at_an_end = (value == low and interval[0] == "[") or (value == high and interval[-1] == "]")
    if not (value is None or low < value < high or at_an_end):
        raise UserError(f"{name} must lie in {interval}, got {value}")
