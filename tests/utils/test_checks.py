import math
from collections.abc import Callable

import pytest

from rtp.errors import UserError
from rtp.utils.checks import check_at_least, check_in, check_positive


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_at_least("steps", 1, 1),
        lambda: check_at_least("steps", None, 1),
        lambda: check_positive("rate", 1e-9),
        lambda: check_positive("rate", None),
        lambda: check_in("fraction", 0, "[0, 1)"),
        lambda: check_in("fraction", 1, "(0, 1]"),
        lambda: check_in("fraction", 0.5, "(0, 1)"),
        lambda: check_in("fraction", None, "(0, 1)"),
        lambda: check_in("angle", 1e9, "(0, inf)"),
    ],
)
def test_a_number_in_its_range_and_none_pass(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_at_least("steps", 0, 1), "steps must be at least 1, got 0"),
        (lambda: check_at_least("drop", math.nan, 0), "drop must be at least 0, got nan"),
        (lambda: check_positive("rate", 0), "rate must be positive, got 0"),
        (lambda: check_positive("rate", math.nan), "rate must be positive, got nan"),
        (lambda: check_in("fraction", 1, "[0, 1)"), r"fraction must lie in \[0, 1\), got 1"),
        (lambda: check_in("fraction", 0.0, "(0, 1]"), r"fraction must lie in \(0, 1\], got 0.0"),
        (lambda: check_in("fraction", -2, "[0, 1]"), r"fraction must lie in \[0, 1\], got -2"),
        (lambda: check_in("fraction", math.nan, "[0, 1]"), r"fraction must lie in \[0, 1\], got nan"),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(check: Callable[[], None], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        check()
