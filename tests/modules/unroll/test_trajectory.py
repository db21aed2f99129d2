"""The stack of weights, and when it leaves the device."""

import pytest
import torch

from rtp.modules.unroll.trajectory import Trajectory, fits


@pytest.mark.parametrize("on_host", [False, True])
def test_steps_come_back_in_reverse(on_host: bool) -> None:
    trajectory = Trajectory(on_host)
    for value in (1.0, 2.0):
        trajectory.push(torch.full((3,), value), (torch.full((3,), -value),))
    for value in (2.0, 1.0):
        theta, (moment,) = trajectory.pop()
        assert theta.tolist() == [value] * 3
        assert moment.tolist() == [-value] * 3


def test_half_of_the_free_memory_is_for_the_trajectory() -> None:
    theta = torch.zeros(100)  # 400 bytes
    assert fits(10, 2, theta, free=16_000)
    assert not fits(10, 2, theta, free=15_999)
