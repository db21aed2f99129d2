"""The stack of weights, and when it leaves the device."""

import pytest
import torch

from rtp.modules.unroll.trajectory import Trajectory, fits, free_memory


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


def test_unused_blocks_of_a_cuda_graph_are_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(device: int, pool: tuple[int, int], total: int, active: int) -> dict[str, object]:
        return {"device": device, "segment_pool_id": pool, "total_size": total, "active_size": active}

    cache = [
        segment(0, (0, 0), 100, 30),
        segment(0, (0, 0), 50, 50),
        segment(0, (0, 1), 1000, 10),  # a CUDA graph's
        segment(1, (0, 0), 500, 0),  # another GPU's
    ]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 4000))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: cache)
    assert free_memory(torch.device("cuda", 0)) == free_memory(torch.device("cuda")) == 7 + 70
    assert free_memory(torch.device("cuda", 1)) == 7 + 500
