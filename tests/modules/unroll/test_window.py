"""Where windows end."""

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.unroll.window import LastSteps, RandomWindow, Window


def test_last_steps_end_with_the_loop() -> None:
    assert LastSteps(3).end(10) == 10


def test_a_random_window_ends_anywhere_it_fits_with_equal_chance() -> None:
    torch.manual_seed(0)
    ends = torch.tensor([RandomWindow(3).end(7) for _ in range(5000)])
    counts = ends.bincount(minlength=8)
    assert counts[:3].sum() == 0
    # five possible ends; five standard deviations of a binomial count
    assert (counts[3:] - 1000).abs().max() < 5 * (5000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("window", [LastSteps, RandomWindow])
def test_an_empty_window_is_refused(window: type[Window]) -> None:
    with pytest.raises(UserError, match="the size of a window must be at least 1, got 0"):
        window(0)
